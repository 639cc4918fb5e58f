"""Item dictionaries of partitions merged into one."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recfold.fold.dictionaries as dictionaries
from recfold.fold.buckets import write_arrow
from recfold.fold.dictionaries import merge_dictionaries

CONTENT = st.tuples(st.none() | st.integers(0, 3), st.none() | st.lists(st.sampled_from([0.0, -0.0, None]), max_size=2))


@pytest.mark.parametrize("least_bytes", [0, 1 << 20])
@settings(max_examples=40, deadline=None)
@given(parts=st.lists(st.lists(CONTENT, min_size=1, max_size=6), min_size=1, max_size=5))
def test_merging_keeps_every_distinct_row_once(
    tmp_path_factory: pytest.TempPathFactory, least_bytes: int, parts: list[list[tuple[Any, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    files = [write(folder / f"{number}.arrow", rows) for number, rows in enumerate(parts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dictionaries, "_LEAST_BYTES", least_bytes)
        merged = merge_dictionaries(files)
    found = [repr(row) for row in zip(*(column.to_pylist() for column in merged.rows.columns), strict=True)]
    assert found == list(dict.fromkeys(repr(row) for rows in parts for row in rows))
    for rows, remap in zip(parts, merged.remaps, strict=True):
        assert [found[number] for number in remap] == [repr(row) for row in rows]


def write(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    ids, lists = zip(*rows, strict=True)
    write_arrow(path, pa.table({"a": pa.array(ids, pa.int8()), "b": pa.array(lists, pa.list_(pa.float64()))}))
    return path
