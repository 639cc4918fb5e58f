"""The stopwatch runs the kernels that training uses, on the lists that the pieces describe."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recfold.plan.cost.measured import (
    MeasuredCost,
    Prepared,
    Stopwatch,
    probe_piece,
    quiet_probe_ms,
    scaled_ms,
    settled_ms,
)
from recfold.plan.pool import table_pool
from recfold.spec import InputError


@pytest.fixture(scope="module")
def stopwatch() -> Stopwatch:
    return Stopwatch(memory_bytes=1 << 22, warm_ups=1, repeats=3)


def test_a_set_is_timed_with_its_probes(stopwatch: Stopwatch) -> None:
    tables = [table for table in table_pool(2, num_tables=60) if table.rows < 5000]
    pieces = [table.load(16).whole() for table in tables[:3]]
    threads = torch.get_num_threads()
    timing = stopwatch.measure(pieces)
    assert torch.get_num_threads() == threads
    assert len(timing.repeats_ms) == len(timing.probes_ms) == 3
    assert timing.ms == pytest.approx(settled_ms(timing.repeats_ms, timing.probes_ms, stopwatch.quiet_ms))
    assert 0 < timing.forward_ms < timing.ms
    assert timing.wall_ms > 0
    assert timing.spread >= 0


def test_no_pieces_take_no_time(stopwatch: Stopwatch) -> None:
    assert stopwatch.measure([]).ms == 0


def test_sets_that_are_compared_are_timed_in_turns(stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [table for table in table_pool(2, num_tables=60) if table.rows < 5000]
    pieces = [table.load(16).whole() for table in tables[:4]]
    sets = [pieces[:1], [], pieces[1:3], pieces[3:]]
    order: list[int] = []
    real = Stopwatch._once

    def once(self: Stopwatch, own: Prepared, flush: bool = True) -> tuple[float, float, float]:
        if own is not self._probe:
            order.append(len(own.bags[0].values))
        return real(self, own, flush)

    monkeypatch.setattr(Stopwatch, "_once", once)
    timings = stopwatch.measure_in_turns(sets, repeats=6, seed=3)
    assert [len(timing.repeats_ms) for timing in timings] == [6, 0, 6, 6]
    assert [timing.ms > 0 for timing in timings] == [True, False, True, True]
    rounds = [order[first : first + 3] for first in range(0, len(order), 3)]
    assert len(rounds) == 1 + 6  # the first to warm up
    assert all(sorted(own) == sorted(rounds[0]) for own in rounds)
    assert len(set(rounds[0])) == 3
    assert len({tuple(own) for own in rounds[1:]}) > 1


def test_a_piece_larger_than_the_memory_is_refused(stopwatch: Stopwatch) -> None:
    load = replace(probe_piece().table, rows=10**7)
    with pytest.raises(InputError, match="does not fit the memory"):
        stopwatch.measure([load.whole()])


def test_wrong_stopwatches_are_refused() -> None:
    with pytest.raises(InputError, match="no repeats"):
        Stopwatch(repeats=0)
    with pytest.raises(InputError, match="cpu or cuda"):
        Stopwatch(device="meta")


def test_rows_are_updated_where_ids_are_and_row_pieces_have_an_op_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # as a stopwatch has it
    table = next(table for table in table_pool(2, num_tables=60) if 100 < table.rows < 5000)
    whole = table.load(16).whole()
    halves = whole.halves_by_rows()
    assert halves is not None
    pieces = [whole, halves[0], whole]
    own = Prepared.of(pieces, np.random.default_rng(0), torch.device("cpu"), None, "auto")
    sums = own.shards.look_up(own.bags)
    assert [tuple(part.shape) for part in sums] == [tuple(grad.shape) for grad in own.grads]
    torch.autograd.backward(sums, own.grads)
    if own.shards.kernels[0].name == "fbgemm":
        assert [len(kernel.tables) for kernel in own.shards.kernels] == [2, 1]
    touched = {name for kernel in own.shards.kernels for name, state in _sums(kernel).items() if state.any()}
    assert touched == {"0", "1", "2"}


def _sums(kernel: object) -> dict[str, torch.Tensor]:
    states = kernel.states()  # type: ignore[attr-defined]
    return {table.name: state["sum"] for table, state in zip(kernel.tables, states, strict=True)}  # type: ignore[attr-defined]


def test_repeats_beside_a_busy_neighbour_are_scaled_back() -> None:
    quiet = quiet_probe_ms([2.0] * 8 + [4.0, 9.0])
    assert quiet == 2.0
    assert scaled_ms([10.0, 10.0 * 2**0.6], [2.0, 4.0], quiet).tolist() == pytest.approx([10.0, 10.0])
    assert settled_ms([10.0, 10.0, 10.0, 30.0], [2.0] * 4, quiet) == 10.0


def test_the_measured_cost_remembers_a_piece() -> None:
    class Counting(Stopwatch):
        def __init__(self) -> None:
            self.calls = 0

        def measure(self, pieces, seed=0):  # type: ignore[no-untyped-def]
            self.calls += 1
            from recfold.plan.cost.measured import Timing

            return Timing(float(len(pieces)), 0.0, 0.0, 0.0, (), ())

    watch = Counting()
    cost = MeasuredCost(watch)
    a, b = (table.load(16).whole() for table in table_pool(2, num_tables=4)[:2])
    assert cost.ms(cost.rows([a, b, a]).sum(0, keepdims=True)).tolist() == [3.0]
    assert watch.calls == 2
    assert cost.set_ms([a, b]) == 2.0
