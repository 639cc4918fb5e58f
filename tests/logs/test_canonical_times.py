"""Times in canonical form."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.logs.canonical_times import LATEST_US, parse_time_reference, parse_times

NOON_US = 1_704_110_400_000_000  # 2024-01-01T12:00:00Z


def found(column: pa.Array, unit: str = "us") -> list[int | str]:
    """The microseconds, or why there are none."""
    times = parse_times(column, unit)
    reasons = {"null": times.null, "unparsable": times.unparsable, "out of range": times.out_of_range}
    assert (sum(mask.astype(int) for mask in reasons.values()) <= 1).all()
    assert times.microseconds.dtype == np.int64
    return [
        next((reason for reason, mask in reasons.items() if mask[row]), int(times.microseconds[row]))
        for row in range(len(column))
    ]


@pytest.mark.parametrize(("unit", "scale"), [("s", 1_000_000), ("ms", 1_000), ("us", 1)])
def test_integers_of_a_unit(unit: str, scale: int) -> None:
    largest = LATEST_US // scale
    values = [0, 5, None, largest, largest + 1, -1, -(1 << 63), (1 << 63) - 1]
    assert found(pa.array(values), unit) == [0, 5 * scale, "null", largest * scale, *["out of range"] * 4]


def test_nanoseconds_drop_what_is_finer_than_a_microsecond() -> None:
    values = [1_999, (1 << 63) - 1, -1]
    assert found(pa.array(values), "ns") == [1, LATEST_US, "out of range"]


def test_unsigned_times_beyond_int64_are_out_of_range() -> None:
    column = pa.array([7, 1 << 63, (1 << 64) - 1, None], pa.uint64())
    assert found(column) == [7, "out of range", "out of range", "null"]


def test_floats_are_rounded_to_microseconds() -> None:
    values = [1.5, 1704110400.25, None, float("nan"), float("inf"), -0.5, 1e300]
    assert found(pa.array(values), "s") == [
        1_500_000,
        NOON_US + 250_000,
        "null",
        "unparsable",
        "out of range",
        "out of range",
        "out of range",
    ]
    assert found(pa.array([decimal.Decimal("2.5")]), "ms") == [2_500]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_timestamps_of_any_unit_and_zone(unit: str, zone: str | None) -> None:
    scale = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    column = pa.array([NOON_US // 1_000_000 * scale, None, -scale], pa.int64()).cast(pa.timestamp(unit, zone))
    assert found(column, "ms") == [NOON_US, "null", "out of range"]


def test_dates_are_midnight_utc() -> None:
    days = [datetime.date(2024, 1, 1), None, datetime.date(1969, 12, 31), datetime.date(2500, 1, 1)]
    for kind in (pa.date32(), pa.date64()):
        assert found(pa.array(days, kind)) == [NOON_US - 43_200_000_000, "null", "out of range", "out of range"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T12:00:00",
        "2024-01-01 12:00",
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00.000Z",
        "2024-01-01T13:00:00+01:00",
        "2024-01-01 06:30:00-0530",
        "20240101T120000",
        " 2024-01-01T12:00:00 ",
    ],
)
def test_iso_text(text: str) -> None:
    # alone; with another zone beside it; with something that is no time beside it
    for other, its in (("2024-01-01T12:00:00", NOON_US), ("1970-01-01T00:00:00Z", 0), ("soon", "unparsable")):
        assert found(pa.array([text, None, other])) == [NOON_US, "null", its]


def test_text_of_digits_is_a_number_of_the_unit() -> None:
    assert found(pa.array(["1704110400", None]), "s") == [NOON_US, "null"]
    assert found(pa.array(["1704110400", "1704110400.5", "2024-01-01T12:00:00Z"]), "s") == [
        NOON_US,
        NOON_US + 500_000,
        NOON_US,
    ]


def test_text_that_is_no_time_or_lies_outside() -> None:
    no_times = ["", "yesterday", "2024-02-30", "nan"]
    outside = ["1969-12-31", "2263-01-01", "9999-12-31T23:59:59Z", "1e400", "9" * 30]
    assert found(pa.array([*no_times, *outside])) == [*["unparsable"] * 4, *["out of range"] * 5]


def test_finer_text_is_cut_to_microseconds() -> None:
    assert found(pa.array(["1970-01-01T00:00:00.123456789"])) == [123_456]


def test_text_may_be_dictionary_encoded_or_large() -> None:
    texts = ["2024-01-01T12:00:00", "2024-01-01T12:00:00", None]
    assert found(pa.array(texts).dictionary_encode()) == [NOON_US, NOON_US, "null"]
    assert found(pa.array(texts, pa.large_string())) == [NOON_US, NOON_US, "null"]


def test_values_that_are_no_times_at_all() -> None:
    assert found(pa.array([True, None])) == ["unparsable", "null"]
    assert found(pa.array([[1], None])) == ["unparsable", "null"]
    assert found(pa.nulls(2)) == ["null", "null"]


MOMENTS = st.datetimes(datetime.datetime(1960, 1, 1), datetime.datetime(2300, 1, 1))
ZONES = st.none() | st.just(datetime.UTC) | st.just(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
GAPS = st.sampled_from("T ")
TEXTS = (
    st.builds(lambda moment, zone, gap: moment.replace(tzinfo=zone).isoformat(gap), MOMENTS, ZONES, GAPS)
    | st.integers(-(1 << 64), 1 << 64).map(str)
    | st.floats(-1e20, 1e20).map(str)
    | st.text("0123456789-T:.Z+ e", max_size=20)
)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["s", "ms", "us", "ns"]))
def test_text_is_read_as_the_slow_twin_reads_it(texts: list[str], unit: str) -> None:
    expected: list[int | str] = []
    for text in texts:
        moment = parse_time_reference(text, unit)
        inside = moment is not None and 0 <= moment <= LATEST_US
        expected.append(moment if inside else "unparsable" if moment is None else "out of range")
    assert found(pa.array(texts), unit) == expected
