"""Expanding a table to plain Parquet, and describing it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recfold.spec import InputError
from recfold.table import expand, inspect, open_table


def test_expand_writes_the_canonical_rows_of_each_split(golden: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    assert expand(golden, tmp_path / "plain", lambda *args: told.append(args)) == 6
    for split in ("train", "validation"):
        written = pq.read_table(tmp_path / "plain" / split / "part-00000.parquet").to_pylist()
        assert written == [row for rows in open_table(golden).expand(split) for row in rows.to_pylist()]
    assert told == [("expand", 3, 6), ("expand", 5, 6), ("expand", 6, 6)]


def test_expand_of_a_damaged_table_leaves_nothing(copied: Path, tmp_path: Path) -> None:
    (copied / "validation" / "part-00000.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"validation/part-00000.parquet is damaged"):
        expand(copied, tmp_path / "plain")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_expand_does_not_overwrite(golden: Path, copied: Path) -> None:
    with pytest.raises(InputError, match=r"table is there already"):
        expand(golden, copied)


def test_inspect_counts_lists_values_and_bytes(golden: Path) -> None:
    found = inspect(golden, verify=True)
    features = {feature.name: feature for feature in found.features}
    groups = {group.name: group for group in found.groups}
    assert (found.samples, found.verified, found.fold_by) == (6, True, "session")
    assert [(split.name, split.samples, split.units, split.parts) for split in found.splits] == [
        ("train", 5, 2, 1),
        ("validation", 1, 1, 1),
    ]
    assert (features["country"].lists, features["country"].dedup_factor) == (4, 1.5)
    assert (features["seen"].lists, features["seen"].values, features["seen"].expanded_values) == (5, 7, 11)
    assert (features["topics"].lists, features["topics"].distinct, features["price"].distinct) == (3, 2, None)
    assert (features["interests"].kind, features["interests"].group, features["interests"].type) == (
        "ids",
        "context",
        "int8",
    )
    # 2 + 2 + 0 + null + null + 1 ids of one byte with a weight of four, in full for every sample
    assert features["interests"].raw_bytes == 5 * (1 + 4)
    assert (groups["users"].kind, groups["history"].kind, groups["sample"].lists) == ("dictionary (user)", "window", 6)
    assert "side table" in (groups["users"].chosen or "")
    assert found.accounting.joined == 1
    sizes = sum(path.stat().st_size for split in ("train", "validation") for path in (golden / split).iterdir())
    assert found.bytes == sizes
    assert 0 < sum(group.bytes for group in found.groups) < found.bytes


def test_inspect_verifies_only_when_asked(copied: Path) -> None:
    (copied / "train" / "item.parquet").write_bytes(b"")
    assert not inspect(copied).verified
    with pytest.raises(InputError, match=r"train/item.parquet is damaged"):
        inspect(open_table(copied), verify=True)
