"""The peers' files hold the samples of the folded table, and the bench stops where they do not."""

import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.bench.peer_files import CASES, ORDERS, SPLITS, rows_per_group, split_path
from recfold.bench.peers import check_same_samples, clustered_files, peer_files
from recfold.bench.storage import folder_bytes
from recfold.bench.work import Work
from recfold.spec import InputError


def test_the_peer_joins_and_splits_as_the_fold_does(work: Work) -> None:
    check_same_samples(work.table(), clustered_files(work), work.schema())
    clustered = pl.read_parquet(split_path(clustered_files(work), "train"))
    assert clustered.height == 2700
    assert 0.1 < clustered["click"].mean() < 0.4  # type: ignore[operator]
    assert clustered.equals(clustered.sort("session_id", "timestamp", "request_id"))
    assert clustered.schema["user_00"] == pl.List(pl.Int64)


def test_other_labels_are_not_measured(work: Work, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(clustered_files(work), wrong)
    rows = pl.read_parquet(split_path(wrong, "train"))
    rows.with_columns((1 - pl.col("click")).alias("click")).write_parquet(split_path(wrong, "train"))
    with pytest.raises(InputError, match="the peer's train samples are not those of the folded table"):
        check_same_samples(work.table(), wrong, work.schema())
    split_path(wrong, "train").unlink()
    with pytest.raises(InputError, match="the peer's train samples"):
        check_same_samples(work.table(), wrong, work.schema())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_peer_file_holds_the_joined_rows(work: Work, order: str, case: str) -> None:
    for split in SPLITS:
        joined = pl.read_parquet(split_path(clustered_files(work), split))
        path = split_path(peer_files(work) / f"{order}-{case}", split)
        found = pl.read_parquet(path)
        expected = joined.sort("timestamp", "request_id") if order == "arrival-order" else joined
        assert found.cast(expected.schema).equals(expected)  # type: ignore[arg-type]
        chunk = pq.read_metadata(path).row_group(0).column(0)
        assert chunk.compression == ("ZSTD" if case == "tuned" else "SNAPPY")
        element = pq.read_schema(path).field("user_00").type.value_type
        assert element == pa.int32()


def test_a_tuned_column_is_in_its_smallest_encoding(work: Work, tmp_path: Path) -> None:
    path = split_path(peer_files(work) / "clustered-tuned", "train")
    rows = pq.read_table(path)
    chosen = {
        chunk.path_in_schema: chunk.total_compressed_size
        for chunk in (pq.read_metadata(path).row_group(0).column(number) for number in range(32))
    }
    for use_dictionary, encoding in ((True, None), (False, "PLAIN"), (False, "BYTE_STREAM_SPLIT")):
        encodings = None if encoding is None else dict.fromkeys(chosen, encoding)
        pq.write_table(
            rows,
            tmp_path / "again.parquet",
            compression="zstd",
            compression_level=3,
            use_dictionary=use_dictionary,
            column_encoding=encodings,
            write_statistics=False,
        )
        group = pq.read_metadata(tmp_path / "again.parquet").row_group(0)
        for number in range(len(chosen)):
            chunk = group.column(number)
            assert chosen[chunk.path_in_schema] <= chunk.total_compressed_size


def test_a_row_group_is_64_mb_in_memory() -> None:
    table = pa.table({"x": pa.array(range(1000), pa.int64())})
    assert rows_per_group(table) == (64 << 20) // 8


def test_bytes_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"45")
    assert folder_bytes(tmp_path) == 5
