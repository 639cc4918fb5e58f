"""Peaks are those of the step alone, and the largest batch is bisected."""

from typing import Any

import pytest
import torch

from recfold.bench.training.memory import MemoryTask, measure, measured
from recfold.bench.training.peak import can_measure, largest, peak_of_steps
from recfold.spec import InputError

CPU = torch.device("cpu")
needs_peaks = pytest.mark.skipif(not can_measure(CPU), reason="peak memory of a CPU is measured on Linux only")


class Holding:
    """A side whose step holds so many bytes for a moment; what it prepares does not count."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes

    def prepare(self, batch: Any) -> Any:
        return torch.ones(16 << 20, dtype=torch.uint8)

    def step(self, prepared: Any) -> float:
        return float(torch.ones(self.num_bytes, dtype=torch.uint8)[-1])

    def state(self) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
@needs_peaks
def test_a_peak_is_what_a_step_holds_above_what_was_held(small: Any) -> None:
    for mebibytes in (0, 64):
        found = peak_of_steps(Holding(mebibytes * (1 << 20) + 1), small.batches, CPU)
        assert abs(found - mebibytes * (1 << 20)) < 8 << 20


@pytest.mark.parametrize("most", [1, 7, 100, 5000])
@pytest.mark.parametrize("right", [0, 1, 2, 6, 63, 64, 65, 99, 100, 4000, 9000])
def test_the_largest_size_is_found(right: int, most: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= right

    assert largest(fits, 64, most, resolution=0) == min(right, most)
    assert len(tried) == len(set(tried)) <= 25
    near = largest(fits, 64, most, resolution=0.1)
    assert 0.89 * min(right, most) - 1 <= near <= min(right, most)


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
@needs_peaks
def test_a_process_of_its_own_answers_with_bytes_or_with_samples(small: Any) -> None:
    task = MemoryTask(table=small.table.path, side="fold-off", settings=small.run, table_rows=300, threads=1)
    found = measured(task)
    assert 1 << 18 < found < 1 << 26
    limited = task.model_copy(update={"limit_bytes": 1 << 40})
    assert measure(limited) == 450


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
def test_what_went_wrong_in_the_process_is_said(small: Any) -> None:
    task = MemoryTask(table=small.table.path, side="nobody", settings=small.run, table_rows=300, threads=1)
    with pytest.raises(InputError, match="the memory of nobody could not be measured; got unknown side 'nobody'"):
        measured(task)
