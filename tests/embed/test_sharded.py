"""Sharded tables against one process that has all ranks' batches; the cases are in `sharded_cases.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("sharded_cases.py")


def run_ranks(ranks: int, folder: Path, num_seeds: int, every: int, timeout_s: int) -> dict[str, str]:
    """Run the cases in `ranks` processes; returns what went wrong: case and rank -> traceback."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, str(CASES), *(str(value) for value in (rank, ranks, folder, num_seeds, every))],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    failures = {}
    try:
        for rank, process in enumerate(started):
            _, errors = process.communicate(timeout=timeout_s)
            if process.returncode != 0:
                failures[f"rank {rank} ended with {process.returncode}"] = errors
    finally:
        for process in started:
            process.kill()
            process.communicate()
    for rank in range(ranks):
        written = folder / f"failures-{rank}.json"
        found = json.loads(written.read_text()) if written.exists() else {"no result": ""}
        failures |= {f"{case} on rank {rank}": text for case, text in found.items()}
    return failures


# steps of 7 kinds, 4 rules and 3 ways of reading that share no factor with them meet all pairs
@pytest.mark.parametrize("ranks, num_seeds, every", [(1, 1, 23), (2, 2, 1), (3, 1, 5), (4, 1, 5)])
def test_any_plan_trains_as_one_process_does(ranks: int, num_seeds: int, every: int, tmp_path: Path) -> None:
    failures = run_ranks(ranks, tmp_path, num_seeds, every, timeout_s=240)
    assert not failures, "\n\n".join(f"{case}\n{text}" for case, text in failures.items())


@pytest.mark.soak
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_any_plan_trains_as_one_process_does_in_many_cases(ranks: int, tmp_path: Path) -> None:
    failures = run_ranks(ranks, tmp_path, 100, 1, timeout_s=3600)
    assert not failures, "\n\n".join(f"{case}\n{text}" for case, text in failures.items())
