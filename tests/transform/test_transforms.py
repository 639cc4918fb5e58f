"""Every transform: the same result on distinct lists as on the lists copied out, and the same as its slow twin."""

import math
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.spec import InputError, Schema, splitmix64
from recfold.spec.schema import FeatureSpec
from recfold.spec.transforms import Bucketize, Clip, Cross, Fill, Hash, Log, Ngram, Truncate
from recfold.transform import TRANSFORMS, Lists, Row, apply, apply_reference, check_transforms, string_hashes
from recfold.transform.apply import kind_after
from recfold.transform.hash import hashed_rows, to_rows

INT64 = np.iinfo(np.int64)
SPECS = {
    "hash": (Hash(rows=1000), Hash(rows=1024, seed=3), Hash(rows=1)),
    "truncate": (Truncate(length=2), Truncate(length=1, keep="first")),
    "clip": (Clip(low=-2, high=2),),
    "log": (Log(),),
    "fill": (Fill(value=-1.5),),
    "bucketize": (Bucketize(borders=(-1.0, 0.0, 2.5)),),
    "cross": (Cross(other="other", rows=997),),
    "ngram": (Ngram(n=2, rows=64), Ngram(n=3, rows=1001)),
}
FLOAT_OPS = {"clip", "log", "fill", "bucketize"}

ints = st.one_of(st.integers(-5, 5), st.sampled_from([INT64.min, INT64.max]), st.none())
strings = st.one_of(st.sampled_from(["", "a", "ä", "N123"]), st.none())
floats = st.one_of(st.floats(width=32), st.sampled_from([-0.0, math.nan, math.inf, -math.inf]), st.none())


def list_kinds(op: str) -> st.SearchStrategy:
    """Lists of what the op takes; some of them null."""
    elements = [floats] if op in FLOAT_OPS else [ints, strings] if op != "truncate" else [ints, strings, floats]
    return st.one_of(
        *[st.lists(st.one_of(st.lists(element, max_size=5), st.none()), max_size=6) for element in elements]
    )


def lists_of(rows: list, op: str, weighted: bool = False) -> Lists:
    weights = [[0.5 + i for i in range(len(row or ()))] for row in rows] if weighted else None
    lists = Lists.from_pylists(rows, weights)
    if op in FLOAT_OPS and lists.values.dtype.kind != "f":  # only nulls, or nothing at all
        lists = Lists(lists.values.astype(np.float64), lists.valid, lists.weights, lists.start, lists.length)
    return lists


def same(left: list, right: list) -> bool:
    """Equal lists of lists, NaN equal to itself; logarithms to a rounding."""
    return len(left) == len(right) and all(
        len(a) == len(b)
        and all(
            x == y
            or (
                isinstance(x, float)
                and isinstance(y, float)
                and ((x != x and y != y) or math.isclose(x, y, rel_tol=1e-14))
            )
            for x, y in zip(a, b, strict=True)
        )
        for a, b in zip(left, right, strict=True)
    )


def test_every_transform_is_tested_here():
    assert set(SPECS) == set(TRANSFORMS)


@pytest.mark.parametrize("op", TRANSFORMS)
@pytest.mark.parametrize("weighted", [False, True])
@given(data=st.data())
def test_on_distinct_lists_then_copied_out_equals_on_copied_out_lists_and_the_twin(op, weighted, data):
    rows = data.draw(list_kinds(op))
    spec = data.draw(st.sampled_from(SPECS[op]))
    partners = data.draw(st.lists(st.lists(ints, max_size=3), min_size=len(rows), max_size=len(rows)))
    inverse = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else [], dtype=np.int64)
    lists, other = lists_of(rows, op, weighted), Lists.from_pylists(partners)

    folded = apply(lists, [spec], {"other": other})
    plain = apply(lists.take(inverse).packed(), [spec], {"other": other.take(inverse).packed()})

    copied_out = folded.take(inverse)
    assert same(copied_out.to_pylists(), plain.to_pylists())
    assert copied_out.weight_pylists() == plain.weight_pylists()
    expected = [
        apply_reference(Row(row, weights), [spec], {"other": Row(partner)})
        for row, weights, partner in zip(
            lists.to_pylists(), lists.weight_pylists() or [None] * len(rows), partners, strict=True
        )
    ]
    assert same(folded.to_pylists(), [row.values for row in expected])
    if weighted:
        assert folded.weight_pylists() == [row.weights for row in expected]


@pytest.mark.parametrize("op", TRANSFORMS)
@pytest.mark.parametrize("rows", [[], [[]], [None], [[None]], [[], None, []]], ids=str)
def test_nothing_in_nothing_out(op, rows):
    lists = lists_of(rows, op)
    other = Lists.from_pylists([[]] * len(rows))
    for spec in SPECS[op]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = apply(lists, [spec], {"other": other})
        assert result.num_lists == len(rows)
        expected = [apply_reference(Row(row or []), [spec], {"other": Row([])}).values for row in rows]
        assert result.to_pylists() == expected


@given(st.lists(st.lists(ints, max_size=4), max_size=5), st.permutations(["hash", "truncate"]))
def test_a_chain_is_its_transforms_one_after_the_other(rows, order):
    specs = [SPECS[op][0] for op in order]
    assert apply(Lists.from_pylists(rows), specs).to_pylists() == [
        apply_reference(Row(row), specs).values for row in rows
    ]


def test_windows_share_their_buffer_through_hash_truncate_and_ngram():
    windows = Lists(np.arange(6), None, None, np.array([0, 1, 2]), np.array([4, 4, 4]))
    result = apply(windows, [Truncate(length=3), Ngram(n=2, rows=50), Hash(rows=7)])
    assert len(result.values) == 6
    assert (result.start.tolist(), result.length.tolist()) == ([1, 2, 3], [2, 2, 2])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int32])
def test_narrow_integers_hash_as_the_integers_they_are(dtype):
    values = np.array([0, 1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype=dtype)
    lists = Lists(values, None, None, np.array([0]), np.array([4]))
    wide = Lists(values.astype(np.int64), None, None, np.array([0]), np.array([4]))
    assert apply(lists, [Hash(rows=1000)]).to_pylists() == apply(wide, [Hash(rows=1000)]).to_pylists()


@given(st.lists(strings, max_size=8))
def test_strings_hash_the_same_plain_encoded_and_hashed_before(values):
    plain = pa.array(values, pa.string())
    start, length = np.array([0]), np.array([len(values)])
    spec = [Hash(rows=1000, seed=0)]
    hashes, valid = string_hashes(plain)
    results = [
        apply(Lists(plain, None, None, start, length), spec).to_pylists(),
        apply(Lists(plain.dictionary_encode(), None, None, start, length), spec).to_pylists(),
        apply(Lists(hashes, valid, None, start, length), spec).to_pylists(),
    ]
    assert results[0] == results[1] == results[2]


def test_float32_stays_float32():
    lists = Lists(np.array([0.1, -7], dtype=np.float32), np.array([True, False]), None, np.array([0]), np.array([2]))
    for spec in (Clip(low=-0.05, high=0.05), Log(), Fill(value=0.3)):
        assert apply(lists, [spec]).values.dtype == np.float32


@pytest.mark.parametrize(
    "kind, transforms, after",
    [
        ("dense", (Fill(), Bucketize(borders=(0,)), Hash(rows=2)), "id"),
        ("dense_sequence", (Log(), Bucketize(borders=(0,)), Ngram(n=2, rows=4)), "sequence"),
        ("ids", (Truncate(length=2), Hash(rows=2)), "ids"),
        ("vector", (Clip(low=0, high=1),), "vector"),
    ],
)
def test_kind_after_the_transforms(kind, transforms, after):
    assert kind_after(FeatureSpec(kind=kind, transforms=transforms)) == after


@pytest.mark.parametrize(
    "kind, transform",
    [
        ("dense", Hash(rows=2)),
        ("id", Truncate(length=1)),
        ("id", Ngram(n=2, rows=2)),
        ("ids", Clip(low=0, high=1)),
        ("vector", Bucketize(borders=(0,))),
        ("dense", Cross(other="b", rows=2)),
    ],
)
def test_a_transform_that_the_kind_does_not_take_is_named(kind, transform):
    with pytest.raises(InputError, match=f"feature 'x' of kind {kind} cannot be transformed by '{transform.op}'"):
        kind_after(FeatureSpec(kind=kind, transforms=(transform,)), "x")


def schema_with(features: dict, groups: dict | None = None) -> Schema:
    return Schema.model_validate(
        {
            "keys": {"request": "r", "session": "s", "time": "t"},
            "labels": {"click": {"column": "c"}},
            "features": features,
            "groups": groups or {},
        }
    )


def test_cross_with_dense_or_over_groups_is_refused():
    crossed = {"kind": "id", "transforms": [{"op": "cross", "other": "b", "rows": 9}]}
    with pytest.raises(InputError, match="'a' is crossed with 'b', which is dense"):
        check_transforms(schema_with({"a": crossed, "b": {"kind": "dense"}}))
    with pytest.raises(InputError, match="'a' is crossed with 'b' of another group; got g and sample"):
        check_transforms(schema_with({"a": {**crossed, "group": "g"}, "b": {"kind": "id"}}, {"g": {"kind": "session"}}))
    assert check_transforms(schema_with({"a": crossed, "b": {"kind": "ids"}})) == {"a": "ids", "b": "ids"}


@pytest.mark.parametrize("rows", [1, 64, 200_000, 2**40, 2**62 + 1])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
def test_rows_hashed_in_blocks_are_those_of_the_twin(dtype, seed, rows):
    limits = np.iinfo(dtype)
    ids = np.random.default_rng(0).integers(limits.min, limits.max, 40_000, dtype=dtype, endpoint=True)
    for part in (ids, ids[:0], ids[:1], ids[::3]):
        assert hashed_rows(part, seed, rows).tolist() == to_rows(splitmix64(part, seed), rows).tolist()
