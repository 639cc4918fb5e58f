"""What each form would take: the fast estimate is the slow one, and both are what a fold then stores."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.fold.partition import fold_partition
from recfold.fold.weigh import Weighing
from recfold.fold.weigh_reference import forms_reference
from recfold.spec import Schema

TYPES = {
    "history": pa.list_(pa.int32()),
    "dwell": pa.list_(pa.float32()),
    "tags": pa.list_(pa.string()),
    "tags.weights": pa.list_(pa.float32()),
    "city": pa.string(),
    "price": pa.float64(),
    "content": pa.list_(pa.float32()),
}
KINDS = {
    "history": "sequence",
    "dwell": "dense_sequence",
    "tags": "ids",
    "city": "id",
    "price": "dense",
    "content": "vector",
}


def schema_of(*names: str, **groups: Any) -> Schema:
    features: dict[str, Any] = {name: {"kind": KINDS[name]} for name in names}
    if "tags" in features:
        features["tags"]["weights"] = "w"
    base = {"keys": {"request": "r", "candidate": "c", "user": "u", "time": "t"}, "labels": {"y": {"column": "y"}}}
    return Schema.parse({**base, "features": features, **groups}, "test")


def sample_of(unit: list[int], **columns: list[Any]) -> pa.Table:
    keys = {name: pa.array(columns.pop(name)) for name in ("candidate", "user", "split") if name in columns}
    values = {
        f"feature.{name.replace('_', '.')}": pa.array(v, TYPES[name.replace("_", ".")]) for name, v in columns.items()
    }
    return pa.table({**values, **keys, "unit": unit})


def compare(schema: Schema, sample: pa.Table, features: tuple[str, ...], num_samples: int) -> None:
    found = Weighing(schema, sample, num_samples).forms(features)
    expected = forms_reference(schema, sample, features, num_samples)
    assert set(found) == set(expected)
    for which, form in found.items():
        assert (form.dedup_factor, form.bytes_per_sample) == pytest.approx(expected[which], abs=1e-4), which


ids = st.none() | st.lists(st.sampled_from([1, 2, 3, None]), max_size=4)
row = st.fixed_dictionaries(
    {
        "new_unit": st.booleans(),
        "new_split": st.sampled_from([False, False, False, True]),
        "user": st.sampled_from([None, 1, 2]),
        "candidate": st.sampled_from([7, 8]),
        "history": ids,
        "tags": st.none() | st.lists(st.sampled_from(["", "æ", None]), max_size=2),
        "city": st.sampled_from(["", "København", None]),
        "price": st.sampled_from([0.0, -0.0, float("nan"), None]),
        "repeat": st.booleans(),
    }
)


@given(st.lists(row, min_size=1, max_size=12), st.integers(1, 5))
def test_the_fast_estimates_are_the_slow_ones(rows: list[dict[str, Any]], times: int) -> None:
    for before, now in itertools.pairwise(rows):
        if now["repeat"]:  # otherwise almost nothing ever repeats
            now.update({name: before[name] for name in ("history", "tags", "city", "price")})
    unit = np.cumsum([r["new_unit"] or r["new_split"] for r in rows])
    columns = {name: [r[name] for r in rows] for name in ("user", "candidate", "history", "tags", "city", "price")}
    columns["dwell"] = [None if h is None else [0.5 * (x or 0) for x in h] for h in columns["history"]]
    columns["tags_weights"] = [None if t is None else [1.0] * len(t) for t in columns["tags"]]
    columns["user"] = pa.array(columns["user"], pa.int64()).to_pylist()
    split = np.minimum(np.cumsum([r["new_split"] for r in rows]), 1).tolist()
    sample = sample_of((unit - unit[0]).tolist(), split=split, **columns)
    sample = sample.set_column(sample.column_names.index("user"), "user", pa.array(columns["user"], pa.int64()))
    schema = schema_of("history", "dwell", "tags", "city", "price")
    for features in (("history",), ("history", "dwell"), ("history", "tags"), ("city",), ("city", "price", "tags")):
        compare(schema, sample, features, times * len(rows))


@pytest.mark.parametrize(
    "lists",
    [
        [[]] * 5,
        [None] * 5,
        [[1, 2]],
        [[1, 2]] * 5,
        [[1], [2], [3], [4], [5]],
        [[1, 2], [3, 1, 2], [4, 3, 1, 2], [4, 3, 1], [5, 4, 3]],
        [[1, 2], [1, 2, 3], None, [], [2, 3, 4]],
    ],
    ids=["all empty", "all null", "one sample", "all the same", "all different", "newest first", "null and empty"],
)
@pytest.mark.parametrize("units", [1, 2])
def test_edges(lists: list[Any], units: int) -> None:
    unit = [i * units // len(lists) for i in range(len(lists))]
    candidate = [i % 2 for i in range(len(lists))]
    sample = sample_of(unit, history=lists, candidate=candidate, user=[3] * len(lists))
    compare(schema_of("history"), sample, ("history",), 3 * len(lists))


def test_lists_line_up_only_where_they_do_so_in_the_whole_log() -> None:
    sample = sample_of([0, 0], history=[[1, 2], [2, 3]], dwell=[[0.5, 1.0], [1.0, 2.0]])
    schema = schema_of("history", "dwell")
    together = ("window", None)
    assert together in Weighing(schema, sample).forms(["history", "dwell"])
    elsewhere = {"feature.history": "a", "feature.dwell": "b"}
    assert together not in Weighing(schema, sample, 9, elsewhere).forms(["history", "dwell"])
    assert together in Weighing(schema, sample, 9, elsewhere).forms(["history"])


def test_what_is_estimated_is_what_a_fold_stores() -> None:
    """Dedup factors of the sample itself, against the fold of it."""
    lists = [list(range(i // 3, i // 3 + 5)) for i in range(24)]
    unit = [i // 12 for i in range(24)]
    keys = {name: pa.array(range(24)) for name in ("request", "time")} | {"label.y": pa.array([0.0] * 24)}
    sample = sample_of(unit, history=lists, candidate=list(range(24)))
    rows = pa.table({**{name: sample[name] for name in sample.column_names}, **keys})
    weighed = Weighing(schema_of("history"), sample).forms(["history"])
    for kind in ("session", "window"):
        schema = schema_of("history", groups={"g": {"kind": kind}})
        history = schema.features["history"].model_copy(update={"group": "g"})
        stored = fold_partition(rows, {}, schema.model_copy(update={"features": {"history": history}}))
        count = stored.features["history"]
        assert weighed[kind, None].dedup_factor == pytest.approx(count.expanded_values / count.values, abs=1e-4)


def test_the_factor_of_a_session_group_is_that_of_the_formula() -> None:
    per_unit, changes = 20, 3
    values = [[u, i // (per_unit // (changes + 1))] for u in range(6) for i in range(per_unit)]
    sample = sample_of([u for u in range(6) for _ in range(per_unit)], history=values)
    p = changes / (per_unit - 1)
    form = Weighing(schema_of("history"), sample).session(["history"])
    assert form.dedup_factor == pytest.approx(per_unit / (1 + (per_unit - 1) * p))


def test_the_factor_of_a_window_group_is_that_of_the_formula() -> None:
    length, per_unit, each, new = 30, 20, 5, 2
    lists = [list(range(new * (i // each), new * (i // each) + length)) for _ in range(4) for i in range(per_unit)]
    sample = sample_of([u for u in range(4) for _ in range(per_unit)], history=lists)
    p = (per_unit // each - 1) / (per_unit - 1)
    weighing = Weighing(schema_of("history"), sample)
    form = weighing.window(["history"])
    assert form is not None
    assert form.dedup_factor == pytest.approx(per_unit * length / (length + (per_unit - 1) * p * new), abs=1e-4)
    found = weighing.windows(["history"])
    assert found is not None
    assert (found.mean_length, found.new_per_change, found.newest) == (length, new, "last")


def test_the_rows_of_an_item_dictionary_are_not_underestimated() -> None:
    """Of a Zipf-like catalog: estimated from a sixteenth of the log, known from all of it."""
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 3001) ** 1.05
    candidate = rng.choice(3000, 32_000, p=chance / chance.sum())
    content = [[int(c), int(c) + 1] for c in candidate]
    sample = sample_of([i // 4 for i in range(2000)], history=content[:2000], candidate=candidate[:2000].tolist())
    form = Weighing(schema_of("history"), sample, 32_000).forms(["history"])["dictionary", "item"]
    rows_of_the_sample, rows_of_the_log = len(set(candidate[:2000])), len(set(candidate))
    assert rows_of_the_log <= 32_000 / form.dedup_factor <= rows_of_the_sample * 16
    assert form.dedup_factor > 2000 / rows_of_the_sample


@pytest.mark.parametrize(("moved", "belongs"), [(0, True), (1, True), (12, False)])
def test_values_that_change_over_time_belong_to_their_item_while_that_is_rare(moved: int, belongs: bool) -> None:
    """40 units show the same 5 items once each; the content of all items changes `moved` times."""
    unit, item = np.divmod(np.arange(200), 5)
    version = unit * (moved + 1) // 40
    lists = [[int(i), 100 + int(v)] for i, v in zip(item, version, strict=True)]
    sample = sample_of(unit.tolist(), history=lists, candidate=item.tolist())
    assert (("dictionary", "item") in Weighing(schema_of("history"), sample).forms(["history"])) is belongs


def test_what_the_user_brings_does_not_belong_to_the_item() -> None:
    """Every user sees every item: a user's two values come back along an item, but no more often than apart."""
    user, item = np.divmod(np.arange(400), 20)
    lists = [[int(u * 7 % 2)] for u in user]
    sample = sample_of(user.tolist(), history=lists, candidate=item.tolist(), user=user.tolist())
    assert ("dictionary", "item") not in Weighing(schema_of("history"), sample).forms(["history"])
