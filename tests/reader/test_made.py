"""Rows gathered and transformed together against their slow twin: rows taken and transformed feature by feature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.reader.column import Column
from recfold.reader.layout import layout_of
from recfold.reader.made import Made, made_of, made_of_rows
from recfold.spec import Schema

IDS = [{"op": "truncate", "length": 3}, {"op": "hash", "rows": 11}]
FEATURES = {
    "a": {"kind": "ids", "transforms": IDS},
    "b": {"kind": "ids", "transforms": IDS},
    "c": {"kind": "ids", "transforms": [{"op": "hash", "rows": 8}]},
    "d": {"kind": "id", "transforms": [{"op": "hash", "rows": 8}]},
    "e": {"kind": "ids", "weights": "e_w", "transforms": IDS},
    "x": {"kind": "dense", "transforms": [{"op": "clip", "low": -1, "high": 1}]},
    "y": {"kind": "dense", "transforms": [{"op": "clip", "low": -1, "high": 1}]},
    "v": {"kind": "vector", "width": 2},
    "s": {"kind": "dense_sequence", "transforms": [{"op": "log"}]},
    "t": {"kind": "dense_sequence", "transforms": [{"op": "log"}]},
}
CROSS = {"transforms": [{"op": "cross", "other": "a", "rows": 5}]}


def layout(crosses: bool = False):
    features = {name: dict(spec) for name, spec in FEATURES.items()}
    if crosses:
        features["b"] |= CROSS
    schema = Schema.parse(
        {
            "keys": {"request": "r", "candidate": "c", "session": "s", "time": "t"},
            "labels": {"y": {"column": "y"}},
            "features": features,
        },
        "test schema",
    )
    return layout_of(schema)


def column(data: st.DataObject, name: str, num_rows: int) -> Column:
    """R lists with elements that may be null, of some type."""
    kind, width = FEATURES[name]["kind"], FEATURES[name].get("width")
    many = kind in ("ids", "dense_sequence")
    lengths = [width or (data.draw(st.integers(0, 5)) if many else 1) for _ in range(num_rows)]
    total = sum(lengths)
    if kind in ("ids", "id"):
        dtype = data.draw(st.sampled_from([np.int8, np.int32, np.int64, np.uint64]))
        values = np.array(data.draw(st.lists(st.integers(0, 99), min_size=total, max_size=total)), dtype=dtype)
    else:
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        values = np.array(data.draw(st.lists(st.floats(-2, 2), min_size=total, max_size=total)), dtype=dtype)
    flags = st.lists(st.booleans(), min_size=total, max_size=total)
    valid = np.array(data.draw(flags), dtype=bool) if data.draw(st.booleans()) else None
    weights = np.arange(total, dtype=np.float32) if name == "e" else None
    scalar = kind in ("id", "dense")
    return Column(values, valid, weights, None if scalar else np.cumsum([0, *lengths]))


def plain(made: Made, num_rows: int) -> list:
    """Everything in a `Made`, list by list: blocks may be cut in other places."""
    found: list = [made.num_rows, None if made.dense is None else made.dense.tobytes()]
    for blocks in (made.lists, made.dense_lists):
        for lists in blocks:
            assert lists.valid is None
            found += lists.to_pylists()
    weights = [lists.weight_pylists() for lists in made.lists if lists.weights is not None]
    return [*found, weights]


@pytest.mark.parametrize("crosses", [False, True])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_made_together_are_those_of_the_twin(crosses, data):
    own = layout(crosses)
    (group,) = own.groups
    num_rows = data.draw(st.integers(1, 6))
    columns = {name: column(data, name, num_rows) for name in FEATURES}
    rows = np.array(data.draw(st.lists(st.integers(0, num_rows - 1), max_size=8)), dtype=np.int64)
    fast = made_of_rows(group, own, columns, rows)
    slow = made_of(group, own, {name: columns[name].take(rows).lists() for name in FEATURES})
    assert plain(fast, len(rows)) == plain(slow, len(rows))


def test_features_that_are_alike_are_one_block():
    own = layout()
    (group,) = own.groups
    assert group.bundles == (("a", "b"), ("c",), ("d",), ("e",), ("s", "t"), ("x", "y"), ("v",))
    ids = Column(np.arange(4, dtype=np.int32), None, None, np.array([0, 1, 4]))
    columns = dict.fromkeys("abc", ids) | {"e": Column(ids.values, None, np.ones(4, np.float32), ids.offsets)}
    columns |= {name: Column(np.arange(2)) for name in "d"}
    columns |= {name: Column(np.zeros(2, np.float32)) for name in "xy"}
    columns |= {name: Column(np.zeros(4, np.float32), None, None, np.array([0, 2, 4])) for name in "vst"}
    made = made_of_rows(group, own, columns, np.array([1, 0]))
    assert [lists.num_lists for lists in made.lists] == [4, 2, 2, 2]
    # of columns of two types each is transformed in its own
    columns["b"] = Column(np.arange(4, dtype=np.int64), None, None, ids.offsets)
    assert [lists.num_lists for lists in made_of_rows(group, own, columns, np.array([1, 0])).lists] == [2, 2, 2, 2, 2]
