"""Worker processes: results in order, and one clear error for whatever goes wrong in them."""

import math
import os
import time
from pathlib import Path

import pytest

from recfold.fold.workers import Workers
from recfold.spec import InputError, load_schema


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_tasks(count: int) -> None:
    with Workers(count) as workers:
        assert list(workers.map(math.sqrt, [9, 4, 1, 0, 16])) == [3, 2, 1, 0, 4]
        assert list(workers.map(str, [1, 2])) == ["1", "2"]


def test_an_input_error_comes_back_as_it_is() -> None:
    with Workers(2) as workers, pytest.raises(InputError, match="cannot read schema"):
        list(workers.map(load_schema, [Path("/nowhere/a.toml"), Path("/nowhere/b.toml")]))


def test_an_error_of_the_system_comes_back_as_it_is() -> None:
    with Workers(2) as workers, pytest.raises(FileNotFoundError):
        list(workers.map(os.listdir, ["/nowhere", "/nowhere"]))


def test_any_other_failure_is_one_line_and_ends_the_rest() -> None:
    with Workers(2) as workers:
        with pytest.raises(RuntimeError, match="folding failed in a worker process: TypeError: "):
            list(workers.map(time.sleep, ["never", 600, 600]))
        begun = workers._started.copy()
    assert [worker._process.poll() is not None for worker in begun] == [True, True]


def test_a_worker_that_dies_is_one_line() -> None:
    with Workers(2) as workers, pytest.raises(InputError, match="a fold worker died; got exit code 3; if memory ran"):
        list(workers.map(os._exit, [3, 3]))


def test_leaving_in_the_middle_ends_the_processes() -> None:
    with Workers(2) as workers:
        results = workers.map(time.sleep, [0, 600, 600])
        next(results)
        begun = workers._started.copy()
        results.close()  # type: ignore[attr-defined]
    assert [worker._process.poll() is not None for worker in begun] == [True, True]
