"""What leaves a rank is counted from the arguments of the collectives, by hand in these tests."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from recfold.bench.exchange.tap import Tap, tapped


@pytest.fixture
def of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is rank 1 of 3."""
    monkeypatch.setattr(dist, "get_rank", lambda group=None: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda group=None: 3)


@pytest.mark.usefixtures("of_three")
def test_what_stays_on_the_rank_is_not_counted() -> None:
    tap = Tap()
    tap.all_to_all_single(torch.empty(0), torch.zeros(7, dtype=torch.int64), None, [2, 4, 1])
    assert tap.take() == {"ids": 8 * (2 + 1)}
    assert tap.take() == {}


@pytest.mark.usefixtures("of_three")
def test_splits_count_rows_and_even_ones_need_not_be_said() -> None:
    tap = Tap()
    tap.all_to_all_single(torch.empty(0, 5), torch.zeros(6, 5), input_split_sizes=[1, 2, 3])
    tap.all_to_all_single(torch.empty(0), torch.zeros(6, dtype=torch.uint8))
    with tap.during("gradients"):
        tap.all_to_all_single(torch.empty(0), torch.zeros(3, dtype=torch.float16), None, [1, 1, 1])
    tap.all_to_all_single(torch.empty(0), torch.zeros(0))
    assert tap.take() == {"vectors": 4 * 5 * (1 + 3), "messages": 2 + 2, "gradients": 2 * 2}


def test_collectives_are_counted_inside_and_as_they_were_after(tmp_path: Path) -> None:
    before = dist.all_to_all_single, dist.all_reduce, dist.all_gather
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        with tapped() as tap:
            number = torch.ones(3)
            dist.all_reduce(number)
            dist.all_gather([torch.empty(3)], number)
            received = torch.empty(3)
            dist.all_to_all_single(received, number)
            assert torch.equal(received, number)
        assert tap.take() == {"dense": 12, "numbers": 0, "vectors": 0}
    finally:
        dist.destroy_process_group()
    assert (dist.all_to_all_single, dist.all_reduce, dist.all_gather) == before
