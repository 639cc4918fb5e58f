"""Writing: row groups, encodings, and folders that appear whole or not at all."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.spec import InputError
from recfold.table.files import NewFolder, checksum, choose_encodings, row_group_bounds, write_parquet


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 60))
def test_row_groups_cover_all_rows_and_hold_about_as_many_samples_as_asked(counts: list[int], size: int) -> None:
    bounds = row_group_bounds(np.array(counts), size)
    assert bounds[0] == 0
    assert bounds[-1] == len(counts)
    assert sorted(set(bounds)) == bounds
    for begin, end in itertools.pairwise(bounds):
        last = end == len(counts)
        assert sum(counts[begin:end]) < (1.5 if last else 1) * size + max(counts)


def test_no_rows_make_no_row_group(tmp_path: Path) -> None:
    entry = write_parquet(tmp_path / "x.parquet", pa.table({"a": pa.array([], pa.int64())}), [0])
    assert pq.ParquetFile(tmp_path / "x.parquet").metadata.num_row_groups == 0
    assert (entry.path, entry.rows, entry.xxh64) == ("x.parquet", 0, checksum(tmp_path / "x.parquet"))


def test_the_smallest_encoding_is_chosen_for_each_column(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "few": pa.array(random.choice([2**40, 2**50, 3], 20_000)),
            "floats": pa.array(random.normal(100, 1e-3, 20_000)),
            "text": pa.array([str(x) for x in random.integers(0, 2**60, 20_000)]),
        }
    )
    chosen = choose_encodings(table)
    assert chosen["few"] == "DICTIONARY"
    assert chosen["floats"] == "BYTE_STREAM_SPLIT"
    write_parquet(tmp_path / "x.parquet", table, [0, 20_000], chosen)
    assert pq.read_table(tmp_path / "x.parquet") == table


def test_encodings_reach_into_lists(tmp_path: Path) -> None:
    table = pa.table({"a.b": pa.array([[[1.5, 2.5]], [[], None]], pa.list_(pa.list_(pa.float32())))})
    path = tmp_path / "x.parquet"
    write_parquet(path, table, [0, 2], {"a.b.list.element.list.element": "BYTE_STREAM_SPLIT"})
    assert "BYTE_STREAM_SPLIT" in pq.read_metadata(path).row_group(0).column(0).encodings
    assert pq.read_table(path) == table


def test_a_folder_takes_its_name_when_it_is_finished(tmp_path: Path) -> None:
    with NewFolder(tmp_path / "deep" / "out") as folder:
        (folder.path / "file").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
        folder.finish()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with NewFolder(tmp_path / "out") as folder:
            (folder.path / "file").write_text("x")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_written_to_and_a_full_one_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with NewFolder(out) as folder:
        (folder.path / "file").write_text("x")
        folder.finish()
    with pytest.raises(InputError, match=r"out is there already; remove it, or write to another folder"):
        NewFolder(out)
    with pytest.raises(InputError, match=r"file is there already"):
        NewFolder(out / "file")
    with pytest.raises(InputError, match=r"cannot write .*file/deep"):
        NewFolder(out / "file" / "deep")
