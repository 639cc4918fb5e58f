"""Times in canonical form: int64 microseconds UTC since 1970."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.spec.schema import TimeUnit

LATEST_US = ((1 << 63) - 1) // 1000
"""2262-04-11T23:47:16.854775: what 64 bits of nanoseconds reach."""

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = r"(?i)[0-9](z|[+-][0-9]{2}:?[0-9]{2})$"
_INTEGER = r"^\s*[+-]?[0-9]+\s*$"
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


@dataclass(frozen=True)
class Times:
    """Times of B rows.

    Args:
        microseconds: int64 [B] since 1970 UTC; 0 where there is none.
        null, unparsable, out_of_range: bool [B]: why there is none.
    """

    microseconds: np.ndarray
    null: np.ndarray
    unparsable: np.ndarray
    out_of_range: np.ndarray


def parse_times(column: pa.Array, unit: TimeUnit) -> Times:
    """Times from integers or floats of a unit, timestamps, dates, or text (ISO 8601; digits are a number of the unit).

    A time without a zone is UTC; what is finer than a microsecond is dropped. Times before 1970 or after 2262-04-11
    are out of range.

    Args:
        column: scalars of any type.
        unit: of numbers.

    Example:
        >>> found = parse_times(pa.array(["1970-01-01T00:00:01+00:00", "soon", None]), "us")
        >>> found.microseconds.tolist(), found.unparsable.tolist(), found.null.tolist()
        ([1000000, 0, 0], [False, True, False], [False, False, True])
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _from_integers(column.cast(pa.int64()), kind.unit)
    if pa.types.is_date32(kind):
        days = column.cast(pa.int32()).cast(pa.int64())
        return _from_integers(pc.multiply(days, 86_400), "s")
    if pa.types.is_date64(kind):
        return _from_integers(column.cast(pa.int64()), "ms")
    if pa.types.is_integer(kind):
        return _from_integers(column, unit)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _from_floats(column.cast(pa.float64()), unit)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_text(column.cast(pa.string()), unit)
    null = _is_null(column)
    return Times(np.zeros(len(column), np.int64), null, ~null, np.zeros(len(column), bool))


def parse_time_reference(text: str, unit: TimeUnit) -> int | None:
    """The slow twin of `parse_times` for one text: microseconds of any size, None where it is not a time."""
    if re.fullmatch(_INTEGER, text):
        return int(text) * 1_000_000 // _PER_SECOND[unit]
    if _NUMBER.fullmatch(text):
        return _microseconds(float(text), unit)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    # exact: total_seconds() would be a float
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _from_integers(column: pa.Array, unit: str) -> Times:
    null = _is_null(column)
    if column.type == pa.uint64():
        column = pc.min_element_wise(column, pa.scalar((1 << 63) - 1, pa.uint64()), skip_nulls=False)
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    per_second = _PER_SECOND[unit]
    if per_second > 1_000_000:
        values = values // (per_second // 1_000_000)
        wrong = (values < 0) | (values > LATEST_US)
    else:
        factor = 1_000_000 // per_second
        wrong = (values < 0) | (values > LATEST_US // factor)
        values = np.where(wrong, 0, values) * factor
    return Times(np.where(wrong, 0, values), null, np.zeros(len(values), bool), wrong)


def _from_floats(column: pa.Array, unit: TimeUnit) -> Times:
    null = _is_null(column)
    values = pc.fill_null(column, 0.0).to_numpy()
    unparsable = np.isnan(values)
    with np.errstate(over="ignore"):
        microseconds = np.where(unparsable, 0.0, values) * (1_000_000 / _PER_SECOND[unit])
    wrong = (microseconds < 0) | (microseconds > LATEST_US)
    rounded = np.where(wrong, 0.0, np.floor(microseconds + 0.5)).astype(np.int64)
    return Times(rounded, null, unparsable, wrong)


def _from_text(column: pa.Array, unit: TimeUnit) -> Times:
    null = _is_null(column)
    found = _all_timestamps(column)
    found = _all_integers(column) if found is None else found
    if found is not None:
        return _from_integers(found, "us" if pa.types.is_timestamp(found.type) else unit)
    coded = column.dictionary_encode()
    parsed = [parse_time_reference(text, unit) for text in coded.dictionary.to_pylist()]
    inside = np.array([p is not None and 0 <= p <= LATEST_US for p in parsed] + [False])
    outside = np.array([p is not None for p in parsed] + [False]) & ~inside
    values = np.array([p if ok else 0 for p, ok in zip([*parsed, None], inside, strict=True)], np.int64)
    which = pc.fill_null(coded.indices, len(parsed)).to_numpy()
    return Times(values[which], null, ~inside[which] & ~outside[which] & ~null, outside[which])


def _microseconds(value: float, unit: TimeUnit) -> int | None:
    scaled = value * (1_000_000 / _PER_SECOND[unit])
    if np.isnan(scaled):
        return None
    return int(np.floor(scaled + 0.5)) if np.isfinite(scaled) else LATEST_US + 1


def _all_timestamps(column: pa.Array) -> pa.Array | None:
    """All texts as timestamps; None where one is of another form, or only some have a zone."""
    zoned = pc.match_substring_regex(column, _ZONE)
    kind = pa.timestamp("us", "UTC") if pc.any(zoned).as_py() else pa.timestamp("us")
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return None


def _all_integers(column: pa.Array) -> pa.Array | None:
    try:
        return pc.utf8_trim_whitespace(column).cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _is_null(column: pa.Array) -> np.ndarray:
    return column.is_null().to_numpy(zero_copy_only=False)
