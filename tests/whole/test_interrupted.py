"""Killed at random moments, a fold leaves nothing or a whole table, and a training run goes on bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import recfold
from recfold.checkpoint import latest
from recfold.spec import InputError

SEEDS = [pytest.param(0, 2, id="2 kills"), pytest.param(1, 20, id="20 kills", marks=pytest.mark.soak)]
KILLS_PER_RUN = 5
PATIENCE_S = 60
TRAIN_CHANGES = (
    "train.threads=1",
    "train.batch_size=32",
    "train.epochs=6",
    "train.checkpoint_every=4",
    "train.eval_every=never",
    "train.log_every=3",
    "train.throughput_steps=0",
    "train.device=cpu",
    'model.options={"bottom":[8],"top":[16],"dropout":0.2}',
)


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "recfold", *map(str, arguments)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)


def finish(*arguments: str | Path) -> float:
    """Run a verb to its end; seconds that it took."""
    began = time.monotonic()
    process = start(*arguments)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()
    return time.monotonic() - began


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL it, itself only, after a while; False where it had ended well before. Nothing it started stays."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    give_up = time.monotonic() + PATIENCE_S
    while process_group_lives(process.pid):
        assert time.monotonic() < give_up, "a worker outlives its parent"
        time.sleep(0.1)
    return process.returncode != 0


def process_group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed, kills", SEEDS)
def test_killed_fold_leaves_no_half_table(own_logs: Path, tmp_path: Path, seed: int, kills: int) -> None:
    fold = ("fold", own_logs, "--set", "partitions=3", "--set", "workers=2", "--out")
    duration = finish(*fold, tmp_path / "undisturbed" / "table")
    undisturbed = content(tmp_path / "undisturbed" / "table")
    rng, out = random.Random(seed), tmp_path / "killed" / "table"
    for number in range(kills):
        moment = rng.uniform(0.1, 1.0) * duration
        print(f"seed {seed}, kill {number} after {moment:.2f} of {duration:.2f} s")
        killed = kill_after(start(*fold, out), moment)
        if not out.exists():
            assert killed
            with pytest.raises(InputError, match="does not exist"):
                recfold.open_table(out)
            continue
        recfold.open_table(out).verify()
        assert content(out) == undisturbed
        out.rename(out.with_name(f"whole-{number}"))
    left = [path for path in out.parent.iterdir() if not path.name.startswith("whole-")]
    assert all(path.name.startswith(".table.") for path in left)
    finish(*fold, out)
    assert content(out) == undisturbed


@pytest.mark.parametrize("seed, kills", SEEDS)
def test_killed_training_goes_on_bit_for_bit(
    own_table: recfold.FoldedTable, tmp_path: Path, seed: int, kills: int
) -> None:
    train = ["train", own_table.path, *(part for change in TRAIN_CHANGES for part in ("--set", change)), "--out"]
    duration = finish(*train, tmp_path / "undisturbed")
    expected = weights(tmp_path / "undisturbed")
    rng = random.Random(seed)
    done = 0
    while done < kills:
        run = tmp_path / f"killed-{done}"
        for _ in range(min(KILLS_PER_RUN, kills - done)):
            moment = rng.uniform(0.3, 1.0) * duration
            print(f"seed {seed}, kill {done} after {moment:.2f} of {duration:.2f} s")
            kill_after(start(*train, run, *resume(run)), moment)
            done += 1
        finish(*train, run, *resume(run))
        assert weights(run) == expected


def resume(run: Path) -> list[str]:
    """A run that has begun goes on; one that was killed before it began starts over."""
    return ["--resume"] if (run / "settings.json").exists() else []


def weights(run: Path) -> dict[str, bytes]:
    """Model, tables and optimizer of the last checkpoint, as the bytes of their files."""
    found = latest(run)
    assert found is not None
    return {part: (found.path / f"{part}.safetensors").read_bytes() for part in ("model", "tables", "optimizer")}
