"""What a table says of itself."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recfold.cli.show import inspection_json
from recfold.spec import InputError
from recfold.table import inspect
from recfold.table.files import ENCODINGS, column_encodings, write_parquet


def test_a_table_without_weighed_choices_is_inspected_as_before(golden: Path) -> None:
    found = inspect(golden)
    assert {group.name: group.explained for group in found.groups if group.explained} == {}
    assert all(feature.explained == () for feature in found.features)


def test_every_column_has_its_encoding(golden: Path) -> None:
    assert inspect(golden).encodings == {}
    found = inspect(golden, encodings=True)
    part = pq.read_schema(golden / "train" / "part-00000.parquet").names
    assert set(part) | {"feature.segment", "feature.topics", "feature.content"} == set(found.encodings)
    assert set(found.encodings.values()) <= {"dictionary", "plain", "byte-stream-split", "byte-stream-split + plain",
                                             "dictionary + plain"}  # fmt: skip
    features = {feature.name: feature for feature in found.features}
    assert list(features["interests"].encodings) == ["feature.interests", "feature.interests.weights"]
    groups = {group.name: group for group in found.groups}
    assert list(groups["history"].encodings) == ["history.inverse", "history.start", "history.length"]
    assert list(groups["users"].encodings) == ["users.inverse"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_encoding_that_was_asked_for_is_the_one_that_is_found(golden: Path, tmp_path: Path, encoding: str) -> None:
    rows = pq.read_table(golden / "train" / "part-00000.parquet", columns=["n", "feature.seen", "feature.price"])
    rows = rows.combine_chunks()
    paths = ("n", "feature.seen.list.element", "feature.price.list.element")
    write_parquet(tmp_path / "x.parquet", rows, [0, rows.num_rows], dict.fromkeys(paths, encoding))
    found = column_encodings(pq.read_metadata(tmp_path / "x.parquet"))
    assert found == dict.fromkeys(rows.column_names, encoding.lower().replace("_", "-"))


def test_a_file_that_is_gone_is_named(copied: Path) -> None:
    (copied / "train" / "part-00000.parquet").unlink()
    with pytest.raises(InputError, match=r"train/part-00000.parquet is missing, but the manifest names it"):
        inspect(copied, encodings=True)


def test_an_inspection_as_json_holds_everything(golden: Path) -> None:
    found = json.loads(inspection_json(inspect(golden, encodings=True)))
    assert found["path"] == str(golden)
    assert found["accounting"]["candidate_rows_in"] == 7
    assert found["encodings"]["n"] == "plain"
    seen = next(feature for feature in found["features"] if feature["name"] == "seen")
    assert (seen["values"], seen["expanded_values"]) == (7, 11)
    assert seen["bytes"] > 0
