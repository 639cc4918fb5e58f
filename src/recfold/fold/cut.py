"""Where validation starts: a time that was given, or the one that a last fraction of the samples begins with."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from recfold.fold.scan import Scan
from recfold.spec import InputError, Schema

_BINS = 1 << 16
_FEW = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Times = Callable[[], Iterator[np.ndarray]]


def find_cut(scan: Scan, schema: Schema, split_time: str | float | None) -> int | None:
    """Time (µs) from which on samples are validation; None where the logs say the split or there is no validation.

    Samples of one time are never parted. Where the last fraction would take every sample, validation starts at the next
    time instead.

    Raises:
        InputError: a time that is not ISO, or a fraction outside [0, 1).
    """
    if schema.keys.split is not None:
        if split_time is not None:
            raise InputError(
                "a split time was given, but the logs say the split themselves",
                got=f"column {schema.keys.split!r}",
                todo="leave out one of them",
            )
        return None
    fraction = 0.1 if split_time is None else split_time
    if isinstance(fraction, str):
        try:
            fraction = float(fraction)
        except ValueError:
            return parse_time(str(split_time))
    if not 0 <= fraction < 1:
        raise InputError(
            "the split fraction is out of range", got=fraction, expected="0 <= fraction < 1 or an ISO time"
        )
    last = int(scan.num_rows * fraction)
    if last == 0:
        return None
    cut = ranked(scan.times, scan.num_rows - last)
    if any((times < cut).any() for times in scan.times()):
        return cut
    later = [int(times[times > cut].min()) for times in scan.times() if (times > cut).any()]
    return min(later, default=None)


def parse_time(text: str) -> int:
    """ISO text as µs since 1970; UTC where it says no zone.

    >>> parse_time("1970-01-02"), parse_time("1970-01-01T01:00:00.000001+01:00")
    (86400000000, 1)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            "the split time is neither a time nor a fraction", got=repr(text), expected="2024-05-31T00:00:00 or 0.1"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // timedelta(microseconds=1)


def ranked(times: Times, rank: int) -> int:
    """The number that stands at index `rank` after sorting, in little memory: counted in bins, then in finer ones.

    >>> ranked(lambda: iter([np.array([5, 1]), np.array([3])]), 2)
    5
    """
    low, high = (int(f(g(part) for part in times())) for f, g in ((min, np.min), (max, np.max)))
    held = sum(len(part) for part in times())
    while held > _FEW and low < high:
        width = (high - low) // _BINS + 1
        counts = np.zeros(_BINS, np.int64)
        for part in times():
            counts += np.bincount((part[(part >= low) & (part <= high)] - low) // width, minlength=_BINS)
        through = np.cumsum(counts)
        bin = int(np.searchsorted(through, rank, side="right"))
        held = int(counts[bin])
        rank -= int(through[bin]) - held
        low, high = low + bin * width, min(high, low + (bin + 1) * width - 1)
    if low == high:
        return low
    return int(np.sort(np.concatenate([part[(part >= low) & (part <= high)] for part in times()]))[rank])
