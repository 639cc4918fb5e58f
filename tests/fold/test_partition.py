"""Folding one partition: columns of the unit rows, kind of group by kind of group."""

from typing import Any

import pyarrow as pa
import pytest

from recfold.fold.partition import Folded, fold_partition
from recfold.spec import InputError, Schema


def folded(feature: dict[str, Any], group: dict[str, Any] | None, columns: dict[str, Any], **more: Any) -> Folded:
    """Fold four samples, two units of two, with one feature `x` in group `g`."""
    schema = Schema.parse(
        {
            "keys": {"request": "r", "session": "s", "user": "u", "time": "t"},
            "labels": {"y": {"column": "y"}},
            "features": {"x": {**feature, "group": "g" if group else "sample"}, **more.get("features", {})},
            "groups": {"g": group} if group else {},
            "sides": more.get("sides", {}),
        },
        "test",
    )
    rows = {
        "request": [1, 2, 3, 4],
        "session": [7, 7, 8, 8],
        "time": [10, 11, 12, 13],
        "label.y": pa.array([0, 1, 0, 1], pa.float32()),
        "unit": [0, 0, 1, 1],
        **columns,
    }
    return fold_partition(pa.table(rows), more.get("tables", {}), schema)


IDS = {"kind": "ids"}


def test_session_group_stores_runs_and_starts_anew_in_every_unit() -> None:
    found = folded(IDS, {"kind": "session"}, {"feature.x": [[1], [1], [1], [2]]})
    assert found.units["feature.x"].to_pylist() == [[[1]], [[1], [2]]]
    assert found.units["g.inverse"].to_pylist() == [[0, 0], [0, 1]]
    assert found.lists == {"g": 3}


def test_per_sample_feature_is_a_list_of_n() -> None:
    found = folded(IDS, None, {"feature.x": [[1], None, [], [None]]})
    assert found.units["feature.x"].to_pylist() == [[[1], None], [[], [None]]]


def test_window_group_stores_one_list_per_unit() -> None:
    found = folded({"kind": "sequence"}, {"kind": "window"}, {"feature.x": [[1, 2], [2, 3], None, [3]]})
    assert found.units["feature.x"].to_pylist() == [[1, 2, 3], [3]]
    assert found.units["g.start"].to_pylist() == [[0, 1], [0, 0]]
    assert found.units["g.length"].to_pylist() == [[2, 2], [-1, 1]]
    count = found.features["x"]
    assert (count.lists, count.values, count.expanded_values) == (4, 4, 5)


def test_dictionary_group_refers_to_rows_of_another_table() -> None:
    found = folded(IDS, {"kind": "dictionary", "key": "item"}, {"feature.x": [[5], [4], [5], None]})
    assert found.units["g.inverse"].to_pylist() == [[0, 1], [0, 2]]
    assert found.dictionaries["g"].to_pylist() == [{"feature.x": [5]}, {"feature.x": [4]}, {"feature.x": None}]


def test_side_table_rows_with_one_content_are_one_dictionary_row() -> None:
    side = pa.table({"feature.x": [[1], [9], [1], None]})
    found = folded(
        {**IDS, "side": "users"},
        {"kind": "dictionary", "key": "user"},
        {"side.users": [2, 0, 3, 2]},
        sides={"users": {"files": "u*", "key": "user", "column": "u"}},
        tables={"users": side},
    )
    assert found.units["g.inverse"].to_pylist() == [[0, 0], [1, 0]]
    assert found.dictionaries["g"].to_pylist() == [{"feature.x": [1]}, {"feature.x": None}]


def test_keys_that_change_inside_a_unit_are_kept_per_sample() -> None:
    found = folded(IDS, None, {"feature.x": [[1]] * 4, "user": [1, 1, None, 2]})
    assert found.units["session"].to_pylist() == [7, 8]
    assert found.units["sample.user"].to_pylist() == [[1, 1], [None, 2]]
    assert "user" not in found.units.column_names


def test_weights_make_lists_different() -> None:
    columns = {"feature.x": [[1]] * 4, "feature.x.weights": pa.array([[0.0], [-0.0], [1], [1]], pa.list_(pa.float32()))}
    found = folded({**IDS, "weights": "w"}, {"kind": "session"}, columns)
    assert found.units["g.inverse"].to_pylist() == [[0, 1], [0, 0]]


def test_lists_of_a_window_group_that_do_not_line_up_are_an_error() -> None:
    more = {"z": {"kind": "sequence", "group": "g"}}
    columns = {"feature.x": [[1], [1], [1], [1]], "feature.z": [[1], [1], [1], None]}
    with pytest.raises(InputError, match=r"'feature.x' and 'feature.z' of window group 'g' differ .* request 4"):
        folded({"kind": "sequence"}, {"kind": "window"}, columns, features=more)
