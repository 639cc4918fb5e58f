"""Item dictionaries of partitions merged into one."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.fold.buckets import read_arrow, write_arrow
from recfold.fold.dictionaries import merge_dictionaries, merge_reference

CONTENT = st.tuples(st.none() | st.integers(0, 3), st.none() | st.lists(st.sampled_from([0.0, -0.0, None]), max_size=2))
LOCAL = st.lists(CONTENT, min_size=1, max_size=6, unique_by=repr)
TYPES = {"a": pa.int16(), "b": pa.list_(pa.float64())}


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20])
@settings(max_examples=40, deadline=None)
@given(parts=st.lists(LOCAL, min_size=1, max_size=5))
def test_merging_keeps_every_distinct_row_once(
    tmp_path_factory: pytest.TempPathFactory, memory_bytes: int, parts: list[list[tuple[Any, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    files = [write(folder / f"{number}.arrow", rows) for number, rows in enumerate(parts)]
    rows, numbers = merge_reference([read_arrow(path) for path in files])
    merged = merge_dictionaries(files, TYPES, folder / "work", memory_bytes)
    assert merged.num_rows == len(rows)
    assert [merged.remap(index).read().tolist() for index in range(len(files))] == numbers
    for begin in {0, 1, len(rows)}:
        tables = list(merged.rows(begin))
        assert all(table.schema == pa.schema(TYPES.items()) for table in tables)
        found = [row for table in tables for row in merge_reference([table])[0]]
        assert found == rows[begin:]


def write(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    ids, lists = zip(*rows, strict=True)
    write_arrow(path, pa.table({"a": pa.array(ids, pa.int8()), "b": pa.array(lists, pa.list_(pa.float64()))}))
    return path
