"""Random programs give the same on folded and on unfolded tensors: values and gradients."""

from random import Random
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
RANDOMS = st.randoms(use_true_random=False)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(rng=RANDOMS, noise=SEEDS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_programs_equal_the_plain_ones(programs: ModuleType, rng: Random, noise: int) -> None:
    programs.run_program(rng, noise)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hundreds_of_seeded_programs(programs: ModuleType) -> None:
    """Long ones, whose choices are spread evenly; most of what they give is folded."""
    ran_folded, steps = 0, 0
    for seed in range(600):
        program = programs.run_program(Random(seed), seed)
        ran_folded += program.ran_folded
        steps += len(program.steps)
    assert ran_folded > steps // 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_operation_is_drawn_and_finishes(programs: ModuleType) -> None:
    """No kind of step is refused every time: it would test nothing."""
    finished: set[str] = set()
    for seed in range(40):
        for draw, _ in programs.OPERATIONS:
            program = programs.Program(Random(seed), seed)
            program.writes = True
            program.run("comparison", lambda x: x > 0.0, program.pool[0])
            before = len(program.pool)
            try:
                draw(program)
            except (programs.Stop, programs.NoStep):
                continue
            if len(program.pool) > before:
                finished.add(draw.__name__)
    assert finished == {draw.__name__ for draw, _ in programs.OPERATIONS}


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_twenty_thousand_programs(programs: ModuleType) -> None:
    @settings(
        max_examples=20_000,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )
    @given(rng=RANDOMS, noise=SEEDS)
    def check(rng: Random, noise: int) -> None:
        programs.run_program(rng, noise)

    check()
