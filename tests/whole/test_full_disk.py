"""A disk that fills up: one clear line, nothing half written, and what was there stays."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import recfold
from recfold.spec import InputError

SIZES_KB = (16, 48, 80, 112, 144, 176, 208, 240, 272, 304, 336, 400, 480)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; `small_disk` of so many kilobytes is mounted there by the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", folder], capture_output=True, check=False)


def mount(folder: Path, size_kb: int) -> None:
    subprocess.run(["umount", folder], capture_output=True, check=False)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.decode().strip()}")


@pytest.mark.soak
def test_a_fold_and_an_append_that_run_out_of_disk(
    own_logs: Path, write_logs, small_disk: Path, tmp_path: Path
) -> None:
    tuesday = write_logs(tmp_path / "tuesday", seed=1)
    whole = recfold.fold(own_logs, tmp_path / "whole")
    failed = 0
    for size_kb in SIZES_KB:
        mount(small_disk, size_kb)
        code, said = run("fold", own_logs, "--out", small_disk / "table")
        if code == 0:
            shutil.copytree(whole.path, small_disk / "other")
            before = {path: path.read_bytes() for path in (small_disk / "other").rglob("*") if path.is_file()}
            code, said = run("fold", tuesday, "--append", "--out", small_disk / "other")
            if code != 0:
                assert {p: p.read_bytes() for p in (small_disk / "other").rglob("*") if p.is_file()} == before
        else:
            assert list(small_disk.iterdir()) == []
            with pytest.raises(InputError):
                recfold.open_table(small_disk / "table")
        if code != 0:
            failed += 1
            assert code == 1
            assert "No space left" in said.splitlines()[-1]
            assert "Traceback" not in said
    assert failed >= 5


def run(*arguments: str | Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "recfold", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    return done.returncode, done.stderr.decode()
