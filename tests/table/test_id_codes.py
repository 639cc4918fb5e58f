"""Ids as codes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.table.id_codes import IdCoding, change_elements

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
NEAR = st.integers(-50, 50)


@example(ids=[-9_223_372_036_853_727_232], frequent=[0, 1], low=-9_223_372_036_854_775_807)
@example(ids=[-2], frequent=[0, 1], low=-9_223_372_036_854_775_807)
@given(
    ids=st.lists(NEAR) | st.lists(INT64),
    frequent=st.lists(NEAR, unique=True, max_size=6) | st.lists(INT64, unique=True, max_size=6),
    low=NEAR | INT64,
)
def test_codes_are_distinct_and_decode_to_the_ids(ids: list[int], frequent: list[int], low: int) -> None:
    coding = IdCoding(np.array([i for i in frequent if i >= low], np.int64), low)
    if not coding.fits(min(ids, default=0), max(ids, default=0)):
        return
    given_ids = np.array(ids, np.int64)
    codes = coding.encode(given_ids)
    assert coding.decode(codes, np.dtype(np.int64)).tolist() == ids
    assert len(set(codes.tolist())) == len(set(ids))
    assert codes.tolist() == [code_of(coding, i) for i in ids]


def code_of(coding: IdCoding, i: int) -> int:
    """The slow twin of `encode`, for one id."""
    frequent = coding.frequent.tolist()
    if i in frequent:
        return frequent.index(i)
    return i - coding.low + (len(frequent) if i >= coding.low else 0)


def test_a_range_that_would_overflow_does_not_fit() -> None:
    coding = IdCoding(np.array([5]), 0)
    assert coding.fits(-(1 << 63), (1 << 63) - 2)
    assert not coding.fits(0, (1 << 63) - 1)
    assert not IdCoding(np.array([5]), 1).fits(-(1 << 63), 0)


@given(st.lists(st.none() | st.lists(st.none() | st.lists(st.none() | NEAR))), st.integers(0, 3))
def test_elements_change_and_nothing_else(lists: list, begin: int) -> None:
    column = pa.array(lists, pa.list_(pa.list_(pa.int8()))).slice(begin)
    changed = change_elements(column, lambda ids: ids.astype(np.int64) + 1000)
    plus = [
        None if a is None else [None if b is None else [None if x is None else x + 1000 for x in b] for b in a]
        for a in lists[begin:]
    ]
    assert changed.to_pylist() == plus
    changed.validate(full=True)


def test_a_damaged_file_of_codes_is_named(coded: FoldedTable) -> None:
    path = coded.path / "train" / "part-codes.parquet"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"part-codes\.parquet is damaged"):
        list(coded.expand("train"))
    path.unlink()
    with pytest.raises(InputError, match=r"part-codes\.parquet is missing, but the manifest names it"):
        coded.verify()
