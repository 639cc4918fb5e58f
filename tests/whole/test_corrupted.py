"""Files damaged at random: a folded table and a checkpoint are refused by name, and never read wrong."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import recfold
from recfold.checkpoint import latest, load
from recfold.cli import main
from recfold.spec import InputError
from recfold.table import FoldedTable

SEEDS = [pytest.param(0, 12, id="12 times"), pytest.param(1, 500, id="500 times", marks=pytest.mark.soak)]
TABLE_SEEDS = [pytest.param(0, 12, id="12 times"), pytest.param(1, 1000, id="1000 times", marks=pytest.mark.soak)]


def truncate(file: Path, other: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def flip_bit(file: Path, other: Path, rng: random.Random) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    file.write_bytes(damaged)


def swap(file: Path, other: Path, rng: random.Random) -> None:
    mine, its = file.read_bytes(), other.read_bytes()
    file.write_bytes(its)
    other.write_bytes(mine)


def delete(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "truncate": truncate,
    "flip bit": flip_bit,
    "swap": swap,
    "delete": delete,
}


def damages(folder: Path, intact: Path, seed: int, times: int) -> Iterator[list[Path]]:
    """So many times: a copy of `intact` at `folder` with one damage; the files that differ now."""
    rng = random.Random(seed)
    names = sorted(path.relative_to(intact) for path in intact.rglob("*") if path.is_file())
    for number in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(intact, folder)
        kind, (name, other) = rng.choice(list(DAMAGES)), rng.sample(names, 2)
        print(f"seed {seed}, damage {number}: {kind} {name}" + (f" and {other}" if kind == "swap" else ""))
        DAMAGES[kind](folder / name, folder / other, rng)
        yield [folder / n for n in names if not same_bytes(folder / n, intact / n)]


def same_bytes(a: Path, b: Path) -> bool:
    return a.exists() and a.read_bytes() == b.read_bytes()


def outcome_of_inspect(table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> tuple[int, str]:
    """Exit code and stderr of `recfold inspect --verify`."""
    monkeypatch.setattr("sys.argv", ["recfold", "inspect", str(table), "--verify"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return int(code or 0), capsys.readouterr().err


def rows_of(table: Path) -> list[Any]:
    return list(recfold.open_table(table).expand())


@pytest.fixture(scope="module")
def added_to(tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    """A table with codes of ids, two item dictionaries and days of different columns."""
    folder = tmp_path_factory.mktemp("added_to")
    for day in range(2):
        recfold.fold(skewed_logs(folder / f"day-{day}", day), folder / "table", append=day > 0)
    found = recfold.open_table(folder / "table")
    assert found.manifest.splits["train"].codes is not None
    assert len(found.manifest.splits["train"].dictionaries["candidate"]) == 2
    return found


def skewed_logs(out: Path, day: int) -> Path:
    """A day of joined logs with skewed ids, items that only this day has, and, from the second on, another feature."""
    rng = np.random.default_rng(day)
    rows = 1200
    seen = (rng.pareto(1.0, (rows // 4, 12)) * 3).astype(np.int64) * 2654435761 % (1 << 31)
    item = rng.integers(0, 30, rows) + 20 * day
    columns = {
        "request": np.arange(rows) + rows * day,
        "item": item,
        "user": np.arange(rows) // 20,
        "time": np.arange(rows) * 10**6 + day * 10**10,
        "click": (item % 3 == 0).astype(np.float32),
        "seen": [seen[i // 4].tolist() for i in range(rows)],
        "topics": [[int(i), int(i) % 7] for i in item],
        **({"more": np.arange(rows)} if day else {}),
    }
    out.mkdir(parents=True)
    pl.DataFrame(columns).write_parquet(out / "impressions.parquet")
    features = """
        [keys]
        request = "request"
        candidate = "item"
        user = "user"
        time = "time"
        [labels.click]
        column = "click"
        [groups.candidate]
        kind = "dictionary"
        key = "item"
        [features]
        seen = { kind = "ids", group = "seen" }
        topics = { kind = "ids", group = "candidate" }
    """
    (out / "features.toml").write_text(features + ("more = { kind = 'id', default = -1 }" if day else ""))
    return out


@pytest.mark.parametrize("seed, times", TABLE_SEEDS)
@pytest.mark.parametrize("which", ["own_table", "added_to"])
def test_damaged_table_is_refused_by_name(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    which: str,
    seed: int,
    times: int,
) -> None:
    table: FoldedTable = request.getfixturevalue(which)
    intact = rows_of(table.path)
    manifest = table.manifest
    # what an appended table no longer names stays for its readers until the next day: not part of it
    of_table = {table.path / entry.path for entry in manifest.files()} | {table.path / "manifest.json"}
    for differing in damages(tmp_path / "table", table.path, seed, times):
        differing = [file for file in differing if table.path / file.relative_to(tmp_path / "table") in of_table]
        try:
            opened = recfold.open_table(tmp_path / "table").manifest
        except InputError:
            opened = None
        if not differing or (opened == manifest and differing == [tmp_path / "table" / "manifest.json"]):
            continue  # such as 1e-8 written 1E-8: the same manifest
        code, said = outcome_of_inspect(tmp_path / "table", monkeypatch, capsys)
        assert code == 1
        said = said.splitlines()[-1]
        assert said.startswith("recfold: ")
        names = [str(file) for file in differing]
        assert any(name in said for name in names) or (opened is None and str(tmp_path / "table") in said)
        try:
            rows = rows_of(tmp_path / "table")
        except InputError:
            continue
        # only what no row is made of was damaged
        assert all(file.parent.name == "quarantine" or file.suffix == ".safetensors" for file in differing)
        assert rows == intact


@pytest.fixture(scope="module")
def trained(own_table: FoldedTable, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with two checkpoints."""
    run = tmp_path_factory.mktemp("trained") / "run"
    changes = ("train.max_steps=4", "train.checkpoint_every=2", "train.eval_every=never")
    recfold.train(own_table, run, settings=settings(*changes, 'model.options={"bottom": [4], "top": [4]}'))
    return run


@pytest.mark.parametrize("seed, times", SEEDS)
def test_damaged_checkpoint_is_never_loaded(trained: Path, tmp_path: Path, seed: int, times: int) -> None:
    steps = {path.name: load(path) for path in sorted((trained / "checkpoints").iterdir())}
    assert len(steps) == 2
    copy = tmp_path / "run" / "checkpoints"
    for differing in damages(copy, trained / "checkpoints", seed, times):
        damaged = {file.parent.name for file in differing}
        for name, state in steps.items():
            if name in damaged:
                with pytest.raises(InputError, match=name):
                    load(copy / name)
            else:
                assert equal(load(copy / name), state)
        whole = [name for name in steps if name not in damaged]
        if not whole:
            with pytest.raises(InputError, match="no checkpoint of"):
                latest(tmp_path / "run")
            continue
        found = latest(tmp_path / "run")
        assert found is not None
        assert found.path.name == max(whole)
        assert all(any(str(file) in line for file in differing) for line in found.skipped)
        assert bool(found.skipped) == (max(steps) in damaged)


def equal(a: Any, b: Any) -> bool:
    """Whether two nested states are the same, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool((a == b).all()) if hasattr(a, "all") else a == b
