"""Frequent ids get small codes where that pays."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recfold.fold import FoldSettings, fold
from recfold.fold.coding import COUNTS, choose_coding
from recfold.table import FoldedTable


def skewed(count: int, ids: int, seed: int = 0) -> np.ndarray:
    """Zipf-like ids between 10**8 and 10**8 + ids, in an order that says nothing of how frequent they are."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, ids + 1) ** 1.1
    return 10**8 + rng.permutation(ids)[rng.choice(ids, count, p=chance / chance.sum())]


def test_the_most_frequent_ids_come_first() -> None:
    ids = skewed(20_000, 5_000)
    coding = choose_coding(ids, 2_000_000)
    assert coding is not None
    assert coding.low == ids.min()
    assert len(coding.frequent) in COUNTS
    counts = {id: int(count) for id, count in zip(*np.unique(ids, return_counts=True), strict=True)}
    found = [counts[id] for id in coding.frequent.tolist()]
    assert found == sorted(counts.values(), reverse=True)[: len(found)]


def test_few_elements_get_few_or_no_frequent_ids() -> None:
    ids = skewed(20_000, 5_000)
    many, few = choose_coding(ids, 10**8), choose_coding(ids, 300)
    assert many is not None
    assert few is None or len(few.frequent) < len(many.frequent)


@pytest.mark.parametrize(
    "ids",
    [
        np.zeros(0, np.int64),
        np.array([7]),
        np.full(1000, 3),
        np.random.default_rng(0).integers(0, 256, 20_000),
        np.array([-(1 << 63), (1 << 63) - 1] * 50),
    ],
)
def test_ids_that_are_short_or_as_frequent_as_each_other_stay(ids: np.ndarray) -> None:
    assert choose_coding(ids, 10**6) is None


SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "session": "s", "user": "u", "time": "t"},
    "labels": {"y": {"column": "y"}},
    "features": {
        "runs": {"kind": "ids", "group": "g"},
        "windows": {"kind": "sequence", "group": "w"},
        "own": {"kind": "ids", "group": "sample"},
        "one": {"kind": "id", "group": "sample"},
        "word": {"kind": "id", "group": "sample"},
    },
    "groups": {"g": {"kind": "session"}, "w": {"kind": "window"}},
}
SETTINGS = FoldSettings(partitions=2, workers=1, split_time=0.2)


def day(logs_of: Any, number: int, low: int = 0) -> tuple[Any, list[dict[str, Any]]]:
    """A day of 3,000 samples; some lists are null, some elements too; `low` is added to the ids."""
    ids = (skewed(40_000, 3_000, seed=number) + low).tolist()
    rows = [
        {
            "request": 10_000 * number + i,
            "session": 1000 * number + i // 3,
            "user": i // 9,
            "time": 10**7 * number + i,
            "label.y": 0.0,
            "feature.runs": None if i % 11 == 0 else [*ids[i // 2 : i // 2 + i % 5], None],
            "feature.windows": ids[i // 3 * 4 : i // 3 * 4 + 6 + i % 3],
            "feature.own": ids[3 * i : 3 * i + i % 4],
            "feature.one": None if i % 7 == 0 else ids[i],
            "feature.word": f"w{ids[i] % 50}",
        }
        for i in range(3000)
    ]
    return logs_of(SCHEMA, rows, types={"feature.word": pa.string()}).source(), rows


def rows_of(table: FoldedTable) -> list[dict[str, Any]]:
    found = sorted((row for rows in table.expand() for row in rows.to_pylist()), key=lambda row: row["request"])
    return [{name: value for name, value in row.items() if name != "split"} for row in found]


def test_a_table_with_codes_expands_to_what_went_in(logs_of: Any, tmp_path: Path) -> None:
    source, rows = day(logs_of, 1)
    table = fold(source, tmp_path / "table", settings=SETTINGS)
    assert set(table.manifest.splits["train"].parts[0].coded) == {"runs", "windows", "own"}
    assert table.manifest.splits["train"].codes != table.manifest.splits["validation"].codes
    table.verify()
    assert rows_of(table) == rows


@pytest.mark.parametrize("low", [0, 7 * 10**8, -(10**8) + 5, 1 << 61])
def test_days_that_are_added_keep_the_codes(logs_of: Any, tmp_path: Path, low: int) -> None:
    first, rows = day(logs_of, 1)
    second, more = day(logs_of, 2, low)
    before = fold(first, tmp_path / "table", settings=SETTINGS).manifest.splits["train"]
    table = fold(second, tmp_path / "table", settings=SETTINGS, append=True)
    after = table.manifest.splits["train"]
    assert after.codes == before.codes
    assert set(after.parts[-1].coded) == {"runs", "windows", "own"}
    table.verify()
    assert rows_of(table) == [*rows, *more]
