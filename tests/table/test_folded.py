"""Opening and reading a table; damage is always found and named."""

import pickle
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable, open_table, sample_keys

FILES = ("train/part-00000.parquet", "train/item.parquet", "train/part-00000.users.parquet")


def read_all(table: FoldedTable) -> list[pa.Table]:
    return list(table.expand())


def test_a_table_knows_its_splits_and_parts(golden: Path) -> None:
    table = open_table(str(golden))
    assert table.splits() == ("train", "validation")
    (part,) = table.parts("train")
    assert (part.split, part.index, part.num_rows, part.num_samples, part.num_row_groups) == ("train", 0, 2, 5, 2)
    assert part.dictionary_groups() == ("users", "item")
    assert table.parts("train")[0] is part


def test_columns_come_in_the_order_asked_for(golden: Path) -> None:
    part = open_table(golden).parts("train")[0]
    assert part.row_group(1, ["n", "session"]).to_pydict() == {"n": [2], "session": [71]}
    assert part.row_group(1).num_rows == 1


def test_the_unit_index_has_one_row_per_unit(golden: Path) -> None:
    index = open_table(golden).parts("train")[0].unit_index()
    assert index.schema.types == [pa.int64(), pa.int32(), pa.int32()]
    assert index.to_pydict() == {"first_time": [1000, 1500], "n": [3, 2], "row_group": [0, 1]}


def test_dictionaries_are_read_once_and_shared_by_the_parts_of_a_split(golden: Path) -> None:
    part = open_table(golden).parts("train")[0]
    assert part.dictionary("item") is part.dictionary("item")
    assert part.dictionary("users").num_rows == 2


def test_sample_keys_are_one_row_per_sample(golden: Path) -> None:
    part = open_table(golden).parts("train")[0]
    keys = sample_keys(part.row_group(0, ["n", "session", "user", "sample.request", "label.click"]))
    assert keys.to_pydict() == {
        "request": [101, 102, 103],
        "session": [70, 70, 70],
        "user": ["u1", "u1", "u1"],
        "label.click": [0.0, 1.0, 0.0],
    }


def test_asking_for_what_is_not_there_is_a_clear_error(golden: Path) -> None:
    table = open_table(golden)
    with pytest.raises(InputError, match=r"unknown split 'test'; expected one of train, validation"):
        table.parts("test")
    with pytest.raises(ValueError, match=r"unknown dictionary group 'items'; .*did you mean 'item'"):
        table.parts("train")[0].dictionary("items")
    with pytest.raises(ValueError, match=r"row group 2 of .*part-00000.parquet: it has 2"):
        table.parts("train")[0].row_group(2)


def test_an_open_table_can_be_sent_to_another_process(golden: Path) -> None:
    table = open_table(golden)
    rows = read_all(table)
    again = pickle.loads(pickle.dumps(table))
    part = pickle.loads(pickle.dumps(table.parts("train")[0]))
    assert read_all(again) == rows
    assert part.row_group(0) == table.parts("train")[0].row_group(0)


def test_a_closed_part_opens_again(golden: Path) -> None:
    part = open_table(golden).parts("train")[0]
    before = part.row_group(0)
    part.close()
    part.close()
    assert part.row_group(0) == before


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "zeros"])
def test_a_damaged_file_is_named(copied: Path, file: str, damage: str) -> None:
    path = copied / file
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": data[:-9], "longer": data + b"x", "zeros": bytes(len(data))}[damage])
    said = "is missing, but the manifest names it" if damage == "missing" else "is damaged"
    table = open_table(copied)
    for use in (table.verify, lambda: read_all(table)):
        with pytest.raises(InputError, match=f"{file} {said}"):
            use()


@pytest.mark.parametrize("file", FILES)
def test_every_flipped_bit_is_found(copied: Path, file: str) -> None:
    path = copied / file
    data = path.read_bytes()
    for position in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        table = open_table(copied)
        for use in (table.verify, lambda table=table: read_all(table)):
            with pytest.raises(InputError, match=f"{file} is damaged: its xxh64 is"):
                use()


def test_two_files_that_changed_places_are_named_and_counted(copied: Path) -> None:
    train, validation = copied / "train" / "item.parquet", copied / "validation" / "item.parquet"
    shutil.move(train, copied / "aside")
    shutil.move(validation, train)
    shutil.move(copied / "aside", validation)
    with pytest.raises(InputError, match=r"train/item\.parquet is damaged: .* \(and 1 more of 7 files\)"):
        open_table(copied).verify()


def test_quarantine_is_verified_too(copied: Path) -> None:
    (copied / "quarantine" / "part-00000.parquet").unlink()
    with pytest.raises(InputError, match=r"quarantine/part-00000.parquet is missing"):
        open_table(copied).verify()


def test_verifying_reports_progress(golden: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    open_table(golden).verify(lambda *args: told.append(args))
    assert told[0] == ("verify", 0, 7)
    assert told[-1] == ("verify", 7, 7)
