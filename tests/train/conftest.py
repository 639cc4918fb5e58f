"""A small folded table with every kind of group, whose item table is read by three of them; and short runs on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from recfold.spec import Schema, apply_overrides
from recfold.table import Accounting, FoldedTable, Manifest, open_table
from recfold.table.files import write_manifest, write_parquet
from recfold.table.manifest import PartEntry, SplitEntry
from recfold.train import RunSettings

ITEMS, PLACES, ACTIONS, PROFILES = 12, 5, 4, 6
FEATURES: dict[str, dict[str, Any]] = {
    "tags": {"kind": "ids", "group": "user", "weights": "tags_w", "distinct": 20},
    "age": {"kind": "dense", "group": "user"},
    "seen": {"kind": "sequence", "group": "history", "table": "item", "distinct": ITEMS},
    "action": {"kind": "sequence", "group": "history", "distinct": ACTIONS},
    "dwell": {"kind": "dense_sequence", "group": "history"},
    "liked": {"kind": "ids", "group": "profile", "table": "item", "distinct": ITEMS},
    "item": {"kind": "id", "group": "candidate", "distinct": ITEMS},
    "content": {"kind": "vector", "group": "candidate", "width": 2},
    "place": {"kind": "id", "distinct": PLACES},
    "price": {"kind": "dense"},
}
GROUPS: dict[str, dict[str, Any]] = {
    "user": {"kind": "session"},
    "history": {"kind": "window"},
    "profile": {"kind": "dictionary", "key": "user"},
    "candidate": {"kind": "dictionary", "key": "item"},
}
KEYS = {"request": "r", "candidate": "c", "session": "s", "user": "u", "time": "t", "weight": "w"}
TABLES = {
    "item": {"rows": 16, "dim": 8},
    "tags": {"dim": 8, "pooling": "mean"},
    "action": {"dim": 8},
    "place": {"dim": 4},
}
INT, FLOAT = pa.int32(), pa.float32()
TYPES = {
    "session": pa.int64(),
    "user": pa.string(),
    "first_time": pa.int64(),
    "n": pa.int32(),
    "sample.request": pa.list_(pa.string()),
    "sample.candidate": pa.list_(pa.string()),
    "sample.time": pa.list_(pa.int64()),
    "sample.weight": pa.list_(FLOAT),
    "label.click": pa.list_(FLOAT),
    "label.like": pa.list_(FLOAT),
    "user.inverse": pa.list_(INT),
    "history.inverse": pa.list_(INT),
    "history.start": pa.list_(INT),
    "history.length": pa.list_(INT),
    "profile.inverse": pa.list_(INT),
    "candidate.inverse": pa.list_(INT),
    "feature.tags": pa.list_(pa.list_(INT)),
    "feature.tags.weights": pa.list_(pa.list_(FLOAT)),
    "feature.age": pa.list_(FLOAT),
    "feature.seen": pa.list_(INT),
    "feature.action": pa.list_(INT),
    "feature.dwell": pa.list_(FLOAT),
    "feature.place": pa.list_(INT),
    "feature.price": pa.list_(FLOAT),
}


def make_table(
    path: Path,
    *,
    units: int = 60,
    seed: int = 0,
    drop: tuple[str, ...] = (),
    labels: tuple[str, ...] = ("click", "like"),
    validation: bool = True,
    edit: Callable[[dict[str, Any]], None] = lambda row: None,
) -> FoldedTable:
    """Write a table.

    Args:
        units: sessions of the training split, about 6 samples each; a third as many in validation.
        drop: columns to leave out ("sample.weight", "sample.candidate").
        edit: changes one unit's row before it is written.
    """
    rng = np.random.default_rng(seed)
    splits = {}
    for split, count in (("train", units), ("validation", units // 3)) if validation else (("train", units),):
        (path / split).mkdir(parents=True)
        start = 0 if split == "train" else 1_000_000
        rows = sorted((_unit(rng, start) for _ in range(count)), key=lambda row: row["first_time"])
        for row in rows:
            edit(row)
        splits[split] = _write_split(path, split, rows, rng, drop)
    dropped = {name.removeprefix("sample.") for name in drop}
    schema = Schema.parse(
        {
            "keys": {key: column for key, column in KEYS.items() if key not in dropped},
            "labels": {name: {"column": name, "weight": 1.0 if name == "click" else 0.5} for name in labels},
            "features": FEATURES,
            "groups": GROUPS,
            "tables": TABLES,
        },
        "test schema",
    )
    samples = {split: entry.samples for split, entry in splits.items()}
    manifest = Manifest(
        recfold_version="0",
        schema=schema,
        hashes={},
        fold_by="session",
        splits=splits,
        accounting=Accounting(candidate_rows_in=sum(samples.values()), samples=samples),
    )
    write_manifest(path, manifest)
    return open_table(path)


def _unit(rng: np.random.Generator, start: int) -> dict[str, Any]:
    """One session: a user run or more, a history that grows by one, candidates that please or not."""
    n, first = int(rng.integers(1, 12)), start + int(rng.integers(0, 50_000))
    runs = np.cumsum(np.r_[0, rng.random(n - 1) < 0.3]).tolist()
    windows = np.cumsum(np.r_[0, rng.random(n - 1) < 0.3]).tolist()
    length = int(rng.integers(0, 5))
    items, prices = rng.integers(0, ITEMS, n), rng.normal(size=n)
    pleased = 1 / (1 + np.exp(-(1.5 * np.sin(items) + prices)))
    merged = length + max(windows)
    tags = [rng.integers(0, 20, rng.integers(0, 4)).tolist() for _ in range(max(runs) + 1)]
    return {
        "session": int(rng.integers(0, 1 << 40)),
        "user": f"u{rng.integers(0, 9)}",
        "first_time": first,
        "n": n,
        "sample.request": [f"r{first}-{i // 3}" for i in range(n)],
        "sample.candidate": [f"item {i}" for i in items],
        "sample.time": [first + 10 * i for i in range(n)],
        "sample.weight": rng.integers(1, 4, n).astype(float).tolist(),
        "label.click": (rng.random(n) < pleased).astype(float).tolist(),
        "label.like": (rng.random(n) < 0.3).astype(float).tolist(),
        "user.inverse": runs,
        "history.inverse": windows,
        "history.start": list(range(max(windows) + 1)),
        "history.length": [length if rng.random() < 0.9 else -1 for _ in range(max(windows) + 1)],
        "profile.inverse": rng.integers(0, PROFILES, n).tolist(),
        "candidate.inverse": items.tolist(),
        "feature.tags": tags,
        "feature.tags.weights": [rng.integers(1, 4, len(ids)).astype(float).tolist() for ids in tags],
        "feature.age": rng.normal(size=max(runs) + 1).tolist(),
        "feature.seen": rng.integers(0, ITEMS, merged).tolist(),
        "feature.action": rng.integers(0, ACTIONS, merged).tolist(),
        "feature.dwell": rng.normal(size=merged).tolist(),
        "feature.place": rng.integers(0, PLACES, n).tolist(),
        "feature.price": prices.tolist(),
    }


def _write_split(
    path: Path, split: str, rows: list[dict[str, Any]], rng: np.random.Generator, drop: tuple[str, ...]
) -> SplitEntry:
    def below(entry: Any) -> Any:
        return entry.model_copy(update={"path": f"{split}/{entry.path}"})

    parts = []
    for index, own in enumerate((rows[::2], rows[1::2])):
        columns = {name: pa.array([row[name] for row in own], kind) for name, kind in TYPES.items() if name not in drop}
        bounds = [*range(0, len(own), 8), len(own)]
        entry = write_parquet(path / split / f"part-{index:05d}.parquet", pa.table(columns), bounds)
        liked = [rng.integers(0, ITEMS, rng.integers(0, 4)).tolist() for _ in range(PROFILES)]
        table = pa.table({"feature.liked": pa.array(liked, pa.list_(INT))})
        profile = write_parquet(path / split / f"part-{index:05d}.profile.parquet", table, [0, PROFILES])
        samples = sum(row["n"] for row in own)
        parts.append(PartEntry(file=below(entry), samples=samples, dictionaries={"profile": below(profile)}))
    content = np.random.default_rng(7).normal(size=(ITEMS, 2)).tolist()
    items = {"feature.item": pa.array(range(ITEMS), INT), "feature.content": pa.array(content, pa.list_(FLOAT))}
    candidates = below(write_parquet(path / split / "candidate.parquet", pa.table(items), [0, ITEMS]))
    return SplitEntry(
        samples=sum(row["n"] for row in rows),
        units=len(rows),
        parts=tuple(parts),
        dictionaries={"candidate": candidates},
    )


OPTIONS = {
    "lr": {},
    "fm": {},
    "wide-deep": {"deep": [16]},
    "deepfm": {"deep": [16]},
    "dcn": {"deep": [16], "cross": 2, "rank": 4},
    "din": {"deep": [16], "attention": [8, 4], "head": "mmoe", "experts": 2},
}


def make_settings(*changes: str, model: str = "dlrm") -> RunSettings:
    """Settings of a short run in this process, without timing; `changes` as for --set."""
    short = [
        f"model.name={model}",
        f"model.options={json.dumps(OPTIONS.get(model, {'bottom': [8], 'top': [16]}))}",
        "train.batch_size=32",
        "train.throughput_steps=0",
        "train.device=cpu",
        "tables.kernel=torch",
        "reader.workers=0",
        "train.log_every=1",
    ]
    return apply_overrides(RunSettings(), [*short, *changes])


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    return make_table(tmp_path_factory.mktemp("folded") / "table")


@pytest.fixture(scope="session")
def tables() -> Callable[..., FoldedTable]:
    """The function that makes a table: `tables(path, units=..., drop=...)`."""
    return make_table


@pytest.fixture(scope="session")
def settings() -> Callable[..., RunSettings]:
    """The function that makes settings: `settings("train.epochs=2", model="sequence")`."""
    return make_settings


@pytest.fixture(scope="session")
def differences() -> Callable[[Any, Any], list[str]]:
    """The function that lists where two nested states differ; tensors bit for bit."""

    def compare(a: Any, b: Any, path: str = "") -> list[str]:
        if isinstance(a, torch.Tensor):
            return [] if torch.equal(a, b) else [path]
        if isinstance(a, dict):
            if a.keys() != b.keys():
                return [f"{path}: keys {sorted(map(str, a.keys() ^ b.keys()))}"]
            return [line for key in a for line in compare(a[key], b[key], f"{path}.{key}")]
        if isinstance(a, list | tuple):
            if len(a) != len(b):
                return [f"{path}: length {len(a)} and {len(b)}"]
            return [line for i in range(len(a)) for line in compare(a[i], b[i], f"{path}.{i}")]
        equal = np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        return [] if equal else [f"{path}: {a} and {b}"]

    return compare


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
