"""Killed at random moments, a fold leaves nothing or a whole table, and a training run goes on bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import recfold
from recfold.checkpoint import latest
from recfold.spec import InputError

SEEDS = [pytest.param(0, 2, id="2 kills"), pytest.param(1, 20, id="20 kills", marks=pytest.mark.soak)]
DATA_SEEDS = [pytest.param(0, 2, id="2 kills"), pytest.param(1, 34, id="34 kills", marks=pytest.mark.soak)]
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
    return started([sys.executable, "-m", "recfold", *map(str, arguments)])


def started(command: list[str]) -> subprocess.Popen[bytes]:
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


@pytest.mark.parametrize("seed, kills", DATA_SEEDS)
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


@pytest.mark.parametrize("seed, kills", DATA_SEEDS)
def test_killed_append_leaves_the_table_of_before_or_of_after(
    own_logs: Path, write_logs: Callable[..., Path], tmp_path: Path, seed: int, kills: int
) -> None:
    tuesday = write_logs(tmp_path / "tuesday", seed=1)
    before, after, out = tmp_path / "before", tmp_path / "after", tmp_path / "killed"
    finish("fold", own_logs, "--set", "partitions=3", "--out", before)
    append = ("fold", tuesday, "--append", "--set", "partitions=3", "--set", "workers=2", "--out")
    shutil.copytree(before, after)
    duration = finish(*append, after)
    shutil.copytree(before, out)
    rng = random.Random(seed)
    for number in range(kills):
        moment = rng.uniform(0.1, 1.05) * duration
        print(f"seed {seed}, kill {number} after {moment:.2f} of {duration:.2f} s")
        kill_after(start(*append, out), moment)
        table = recfold.open_table(out)
        table.verify()
        if table.manifest.appended:
            assert named_content(out) == named_content(after)
            shutil.rmtree(out)
            shutil.copytree(before, out)
        else:
            assert named_content(out) == named_content(before)
    finish(*append, out)
    assert content(out) == content(after)


def named_content(table: Path) -> dict[str, bytes]:
    """The manifest and every file that it names."""
    names = ["manifest.json", *(entry.path for entry in recfold.open_table(table).manifest.files())]
    return {name: (table / name).read_bytes() for name in names}


READING = """
import json, sys
from pathlib import Path
from recfold import Reader, ReaderSettings, open_table
table, out = Path(sys.argv[1]), Path(sys.argv[2])
reader = Reader(open_table(table), "train", ReaderSettings(batch_size=7, order="shuffle", workers=2))
done = []
if out.exists():
    state, done = json.loads(out.read_text())
    reader.load_state_dict(state)
with reader:
    for batch in reader:
        done.append(batch.keys["request"].tolist())
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps([reader.state_dict(), done]))
        partial.replace(out)
"""


@pytest.mark.parametrize("seed, kills", DATA_SEEDS)
def test_killed_reading_goes_on_at_the_next_batch(
    own_table: recfold.FoldedTable, tmp_path: Path, seed: int, kills: int
) -> None:
    def reading(out: Path) -> subprocess.Popen[bytes]:
        return started([sys.executable, "-c", READING, str(own_table.path), str(out)])

    began = time.monotonic()
    process = reading(tmp_path / "undisturbed.json")
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()
    duration = time.monotonic() - began
    expected = json.loads((tmp_path / "undisturbed.json").read_text())[1]
    rng, out = random.Random(seed), tmp_path / "killed.json"
    shared = shared_memory()
    for number in range(kills):
        moment = rng.uniform(0.1, 1.0) * duration
        print(f"seed {seed}, kill {number} after {moment:.2f} of {duration:.2f} s")
        kill_after(reading(out), moment)
        if out.exists():
            done = json.loads(out.read_text())[1]
            assert done == expected[: len(done)]
            if len(done) == len(expected):
                out.unlink()
    _, said = reading(out).communicate(timeout=600)
    assert json.loads(out.read_text())[1] == expected, said.decode()
    assert shared_memory() == shared


def shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


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
