"""Partial results over ranks against one process; the cases are in `partial_cases.py`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, train

CASES = Path(__file__).with_name("partial_cases.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tables: Callable[..., FoldedTable]) -> Path:
    made = tmp_path_factory.mktemp("partial")
    tables(made / "two")
    tables(made / "one", labels=("click",))
    return made


def run_ranks(ranks: int, folder: Path, every: int, timeout_s: int) -> dict[str, str]:
    """What went wrong: case and rank -> traceback."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"}
    arguments = [[sys.executable, str(CASES), str(rank), str(ranks), str(folder), str(every)] for rank in range(ranks)]
    started = [subprocess.Popen(own, env=env) for own in arguments]
    try:
        for process in started:
            process.wait(timeout=timeout_s)
    finally:
        for process in started:
            process.kill()
            process.wait()
    failures = {}
    for rank in range(ranks):
        written = folder / f"failures-{ranks}-{rank}.json"
        found = json.loads(written.read_text()) if written.exists() else {"no result": ""}
        failures |= {f"{case} on rank {rank}": text for case, text in found.items()}
    return failures


@pytest.mark.parametrize("ranks, every", [(2, 5), (3, 7)])
def test_partial_results_train_what_one_process_trains(ranks: int, every: int, folder: Path) -> None:
    failures = run_ranks(ranks, folder, every, timeout_s=240)
    assert not failures, "\n\n".join(f"{case}\n{text}" for case, text in failures.items())


@pytest.mark.soak
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_partial_results_train_what_one_process_trains_in_all_cases(ranks: int, folder: Path) -> None:
    failures = run_ranks(ranks, folder, 1, timeout_s=3600)
    assert not failures, "\n\n".join(f"{case}\n{text}" for case, text in failures.items())


def test_on_is_refused_for_a_model_without_an_operator(
    table: FoldedTable, settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    own = settings("ranks.partial=on", model="dcn")
    with pytest.raises(InputError, match="model 'dcn' has no operator that partial results of ranks add up to"):
        train(table, tmp_path / "run", settings=own)
    assert not (tmp_path / "run").exists()
