"""`features.toml`: what it says, what it implies, and what it may not say."""

from pathlib import Path
from typing import Any

import pytest

from recfold.spec import InputError, Schema, TableSpec, load_schema
from recfold.spec.schema import rows_after

KEYS = {"request": "r", "user": "u", "time": "t"}


def schema(**parts: Any) -> Schema:
    return Schema.parse({"keys": KEYS, "labels": {"click": {"column": "y"}}, **parts}, "features.toml")


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features.toml"
    path.write_text(
        """
        [keys]
        request = "request_id"
        candidate = "item"
        session = "visit"
        time = "ts"
        time_unit = "ms"
        [outcomes]
        request = "request_id"
        event = "name"
        [labels.click]
        event = "click"
        [groups.profile]
        kind = "session"
        [features.interests]
        kind = "ids"
        group = "profile"
        transforms = [{op = "truncate", length = 50}, {op = "hash", rows = 1000}]
        """
    )
    read = load_schema(path)
    assert read.keys.columns() == {"request": "request_id", "candidate": "item", "session": "visit", "time": "ts"}
    assert rows_after(read.features["interests"]) == 1000
    assert read.features_of("profile") == ("interests",)
    assert Schema.parse(read.model_dump(mode="json"), "manifest") == read


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"features": {"x": {"kind": "idz"}}}, "features.x.kind"),
        ({"features": {"x": {"kind": "id", "tabel": "t"}}}, "unknown key 'features.x.tabel'.*did you mean 'table'"),
        ({"features": {"x": {"kind": "dense", "table": "t"}}}, "a table belongs to id features"),
        ({"features": {"x": {"kind": "id", "weights": "w"}}}, "weights belong to ids and sequence"),
        ({"features": {"x": {"kind": "id", "side": "s"}}}, "unknown side table 's'"),
        ({"features": {"a.b": {"kind": "id"}}}, "'a.b' is not allowed"),
        ({"groups": {"sample": {"kind": "session"}}}, "cannot be called 'sample'"),
        ({"groups": {"g": {"kind": "dictionary"}}}, "needs key = 'user' or 'item'"),
        ({"groups": {"g": {"kind": "session", "key": "user"}}}, "only a dictionary group has one"),
        ({"groups": {"g": {"kind": "window"}}, "features": {"x": {"kind": "id", "group": "g"}}}, "cannot be in window"),
        ({"labels": {"click": {"event": "click"}}}, r"no \[outcomes\] section"),
        ({"labels": {"click": {"event": "click", "column": "y"}}}, "give one of them"),
        ({"labels": {}}, "labels"),
        ({"keys": {"request": "r", "time": "t"}}, "needs a session or a user"),
        ({"keys": {"user": "u", "time": "t"}}, "'keys.request' is missing"),
        (
            {"features": {"x": {"kind": "id", "transforms": [{"op": "cross", "other": "y", "rows": 5}]}}},
            "unknown feature 'y'",
        ),
        ({"features": {"x": {"kind": "id", "transforms": [{"op": "hsah", "rows": 5}]}}}, "features.x.transforms"),
        ({"features": {"x": {"kind": "id", "transforms": [{"op": "hash", "row": 5}]}}}, "hash"),
        ({"features": {"x": {"kind": "dense", "transforms": [{"op": "clip", "low": 2, "high": 1}]}}}, "low <= high"),
        ({"features": {"x": {"kind": "dense", "transforms": [{"op": "bucketize", "borders": [1, 1]}]}}}, "rising"),
    ],
)
def test_wrong_schema_is_one_clear_line(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        schema(**parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[keys", "\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "features.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"features\.toml is not valid TOML"):
        load_schema(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read schema"):
        load_schema(tmp_path / "nowhere.toml")


def test_default_table_is_distinct_ids_rounded_up_to_a_power_of_two_and_dim_16() -> None:
    tables = schema(features={"x": {"kind": "id", "distinct": 1000}}).resolved_tables()
    assert tables == {"x": TableSpec(rows=1024, dim=16)}


def test_features_that_share_a_table_add_up_and_are_hashed_to_its_rows() -> None:
    shared = schema(
        features={
            "history": {"kind": "sequence", "table": "item", "distinct": 700},
            "item": {"kind": "id", "distinct": 400},
            "price": {"kind": "dense"},
        }
    )
    assert shared.table_features() == {"item": ("history", "item")}
    complete = shared.with_default_hashes()
    assert complete.tables["item"].rows == 2048
    assert [rows_after(feature) for feature in complete.features.values()] == [2048, 2048, None]


def test_a_bucketized_dense_feature_is_an_id_feature_with_a_row_per_bucket() -> None:
    age = schema(features={"age": {"kind": "dense", "transforms": [{"op": "bucketize", "borders": [18, 30]}]}})
    assert age.features["age"].is_id
    assert age.resolved_tables()["age"].rows == 4


def test_hashes_that_disagree_with_their_table_are_refused() -> None:
    two = {"a": {"kind": "id", "table": "t", "transforms": [{"op": "hash", "rows": 8}]}}
    with pytest.raises(InputError, match="different numbers of rows; got 8, 9"):
        schema(
            features={**two, "b": {"kind": "id", "table": "t", "transforms": [{"op": "hash", "rows": 9}]}}
        ).resolved_tables()
    with pytest.raises(InputError, match="has 4 rows, but a feature is mapped to 8"):
        schema(features=two, tables={"t": {"rows": 4}}).resolved_tables()
