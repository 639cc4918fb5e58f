"""Small folded tables made by hand, with every kind of group and feature, nulls and empty lists included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recfold.spec import Schema
from recfold.table import Accounting, FoldedTable, Manifest, open_table
from recfold.table.files import write_manifest, write_parquet
from recfold.table.manifest import PartEntry, SplitEntry

FEATURES: dict[str, dict[str, Any]] = {
    "city": {"kind": "id", "group": "user", "transforms": [{"op": "hash", "rows": 50}]},
    "likes": {"kind": "ids", "group": "user", "weights": "likes_w", "distinct": 60},
    "pairs": {
        "kind": "ids",
        "group": "user",
        "transforms": [{"op": "truncate", "length": 2}, {"op": "cross", "other": "likes", "rows": 101}],
    },
    "age": {"kind": "dense", "group": "user", "transforms": [{"op": "fill", "value": -1.0}]},
    "income": {"kind": "dense", "group": "user", "transforms": [{"op": "bucketize", "borders": [-0.5, 0.5]}]},
    "taste": {"kind": "vector", "group": "user", "width": 3, "transforms": [{"op": "clip", "low": -1, "high": 1}]},
    "seen": {"kind": "sequence", "group": "history", "transforms": [{"op": "truncate", "length": 4}], "table": "item"},
    "dwell": {"kind": "dense_sequence", "group": "history", "transforms": [{"op": "truncate", "length": 4}]},
    "old": {
        "kind": "sequence",
        "group": "past",
        "weights": "old_w",
        "transforms": [{"op": "ngram", "n": 2, "rows": 70}],
    },
    "old_dwell": {"kind": "dense_sequence", "group": "past"},
    "segment": {"kind": "id", "group": "profile", "distinct": 9},
    "bought": {"kind": "sequence", "group": "profile", "table": "item"},
    "item": {"kind": "id", "group": "candidate", "distinct": 40},
    "content": {"kind": "vector", "group": "candidate", "width": 2},
    "place": {"kind": "id", "distinct": 5},
    "tags": {"kind": "ids", "transforms": [{"op": "ngram", "n": 2, "rows": 33}]},
    "price": {"kind": "dense", "transforms": [{"op": "clip", "low": -0.5, "high": 0.5}]},
    "shape": {"kind": "vector", "width": 2},
}
GROUPS = {
    "user": {"kind": "session"},
    "history": {"kind": "window"},
    "past": {"kind": "window"},
    "profile": {"kind": "dictionary", "key": "user"},
    "candidate": {"kind": "dictionary", "key": "item"},
}
SCHEMA = Schema.parse(
    {
        "keys": {
            "request": "r",
            "candidate": "c",
            "position": "p",
            "session": "s",
            "user": "u",
            "time": "t",
            "weight": "w",
        },
        "labels": {"click": {"column": "click"}, "like": {"column": "like", "weight": 0.5}},
        "features": FEATURES,
        "groups": GROUPS,
        "tables": {"item": {"rows": 64}},
    },
    "test schema",
)
LIST_KINDS = ("ids", "sequence", "dense_sequence")
STRINGS = {"likes", "seen", "bought", "item"}
TYPES = {"city": pa.int8(), "pairs": pa.int64(), "old": pa.int16(), "segment": pa.int32(), "place": pa.uint16()}


def element_type(feature: str) -> pa.DataType:
    kind = FEATURES[feature]["kind"]
    if kind in ("dense", "dense_sequence", "vector"):
        return pa.float64() if feature in ("income", "dwell") else pa.float32()
    return pa.string() if feature in STRINGS else TYPES.get(feature, pa.int32())


class Maker:
    """Draws the content of one table."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.by_user = seed % 2 == 1  # then a unit has samples of several sessions

    def element(self, feature: str) -> Any:
        if self.rng.random() < 0.1:
            return None
        if pa.types.is_floating(element_type(feature)):
            return float(np.float32(self.rng.normal()))
        number = int(self.rng.integers(0, 30))
        return f"N{number}" if feature in STRINGS else number

    def elements(self, feature: str, length: int) -> list[Any]:
        return [self.element(feature) for _ in range(length)]

    def value(self, feature: str) -> Any:
        """One stored value of a session, dictionary or per-sample feature."""
        spec = FEATURES[feature]
        if spec["kind"] not in (*LIST_KINDS, "vector"):
            return self.element(feature)
        if self.rng.random() < 0.15:
            return None
        return self.elements(feature, spec.get("width") or int(self.rng.integers(0, 5)))

    def weights(self, ids: list[Any] | None) -> list[float] | None:
        return (
            None if ids is None else [None if self.rng.random() < 0.1 else float(self.rng.integers(1, 9)) for _ in ids]
        )

    def runs(self, n: int) -> list[int]:
        """An inverse that never falls and skips no run."""
        return np.cumsum(np.concatenate([[0], self.rng.random(n - 1) < 0.4])).astype(int).tolist() if n else []

    def unit(self, row: dict[str, list], n: int, num_profiles: int, num_items: int) -> None:
        rng = self.rng
        first = int(rng.integers(0, 50))
        put = {
            **(
                {"sample.session": rng.integers(0, 9, n).tolist()}
                if self.by_user
                else {"session": int(rng.integers(0, 9))}
            ),
            "user": f"u{rng.integers(0, 4)}" if rng.random() < 0.8 else None,
            "first_time": first,
            "n": n,
            "sample.request": [f"r{rng.integers(0, 1000)}" for _ in range(n)],
            "sample.candidate": [int(rng.integers(0, 99)) for _ in range(n)],
            "sample.position": [None if rng.random() < 0.2 else i for i in range(n)],
            "sample.time": [first + i for i in range(n)],
            "sample.weight": [float(rng.integers(1, 4)) for _ in range(n)],
            "label.click": [float(rng.integers(0, 2)) for _ in range(n)],
            "label.like": [None if rng.random() < 0.1 else float(rng.integers(0, 2)) for _ in range(n)],
            "profile.inverse": [int(rng.integers(0, num_profiles)) for _ in range(n)],
            "candidate.inverse": [int(rng.integers(0, num_items)) for _ in range(n)],
            "user.inverse": self.runs(n),
        }
        for feature, spec in FEATURES.items():
            group = spec.get("group", "sample")
            if group in ("user", "sample"):
                count = n if group == "sample" else max(put["user.inverse"], default=-1) + 1
                values = [self.value(feature) for _ in range(count)]
                put[f"feature.{feature}"] = values
                if "weights" in spec:
                    put[f"feature.{feature}.weights"] = [self.weights(ids) for ids in values]
        for group in ("history", "past"):
            self.windows(put, group, n)
        for name, value in put.items():
            row.setdefault(name, []).append(value)

    def windows(self, put: dict[str, Any], group: str, n: int) -> None:
        rng = self.rng
        merged = int(rng.integers(0, 9))
        inverse = self.runs(n)
        if inverse and rng.random() < 0.3:
            inverse[-1] = 0  # a window that comes back
        windows = [sorted(rng.integers(0, merged + 1, 2).tolist()) for _ in range(max(inverse, default=-1) + 1)]
        null = [rng.random() < 0.15 for _ in windows]
        put[f"{group}.inverse"] = inverse
        put[f"{group}.start"] = [0 if gone else low for (low, _), gone in zip(windows, null, strict=True)]
        put[f"{group}.length"] = [-1 if gone else high - low for (low, high), gone in zip(windows, null, strict=True)]
        for feature, spec in FEATURES.items():
            if spec.get("group") == group:
                put[f"feature.{feature}"] = self.elements(feature, merged)
                if "weights" in spec:
                    put[f"feature.{feature}.weights"] = self.weights(put[f"feature.{feature}"])

    def dictionary(self, group: str, num_rows: int) -> pa.Table:
        names = [name for name, spec in FEATURES.items() if spec.get("group") == group]
        return pa.table(
            {
                f"feature.{name}": pa.array([self.value(name) for _ in range(num_rows)], value_type(name, nested=False))
                for name in names
            }
        )


def value_type(feature: str, nested: bool = True) -> pa.DataType:
    """Arrow type of a feature's column; nested: a list per unit."""
    type = element_type(feature)
    if FEATURES[feature]["kind"] in (*LIST_KINDS, "vector"):
        type = pa.list_(type)
    window = GROUPS.get(FEATURES[feature].get("group", ""), {}).get("kind") == "window"
    return type if window or not nested else pa.list_(type)


def column_type(name: str) -> pa.DataType:
    if name.startswith("feature."):
        feature = name.split(".")[1]
        if not name.endswith(".weights"):
            return value_type(feature)
        window = GROUPS[FEATURES[feature]["group"]]["kind"] == "window"
        return pa.list_(pa.float32()) if window else pa.list_(pa.list_(pa.float32()))
    if name.startswith("label.") or name == "sample.weight":
        return pa.list_(pa.float32())
    if name == "sample.request":
        return pa.list_(pa.string())
    if name.startswith("sample."):
        return pa.list_(pa.int64())
    if name.endswith((".inverse", ".start", ".length")):
        return pa.list_(pa.int32())
    return {"session": pa.int64(), "user": pa.string(), "first_time": pa.int64(), "n": pa.int32()}[name]


def make_table(path: Path, seed: int = 0, parts: tuple[tuple[int, ...], ...] = ((3, 1, 5), (2, 4))) -> FoldedTable:
    """A table with the split `train`.

    Args:
        parts: samples of each unit of each part; a row group holds two units.
    """
    maker = Maker(seed)
    (path / "train").mkdir(parents=True)
    num_items = 6
    entries = []
    for index, counts in enumerate(parts):
        row: dict[str, list] = {}
        for n in counts:
            maker.unit(row, n, 3, num_items)
        table = pa.table({name: pa.array(values, column_type(name)) for name, values in row.items()})
        table = table.take(pa.array(np.argsort(table["first_time"].to_numpy(), kind="stable")))
        bounds = [*range(0, len(counts), 2), len(counts)]
        entry = write_parquet(path / "train" / f"part-{index:05d}.parquet", table, bounds)
        profile = write_parquet(
            path / "train" / f"part-{index:05d}.profile.parquet", maker.dictionary("profile", 3), [0, 3]
        )
        entries.append(
            PartEntry(file=below_train(entry), samples=sum(counts), dictionaries={"profile": below_train(profile)})
        )
    items = maker.dictionary("candidate", num_items)
    item_entry = write_parquet(path / "train" / "candidate.parquet", items, [0, num_items])
    samples = sum(map(sum, parts))
    manifest = Manifest(
        recfold_version="0",
        schema=SCHEMA,
        hashes={},
        fold_by="session",
        splits={
            "train": SplitEntry(
                samples=samples,
                units=sum(map(len, parts)),
                parts=tuple(entries),
                dictionaries={"candidate": below_train(item_entry)},
            )
        },
        accounting=Accounting(candidate_rows_in=samples, samples={"train": samples}),
    )
    write_manifest(path, manifest)
    return open_table(path)


def below_train(entry: Any) -> Any:
    return entry.model_copy(update={"path": f"train/{entry.path}"})


@pytest.fixture(scope="session")
def folded() -> Callable[..., FoldedTable]:
    """The function that makes a table: `folded(path, seed, parts)`."""
    return make_table


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    """One table, for tests that only read."""
    return make_table(tmp_path_factory.mktemp("folded") / "table")
