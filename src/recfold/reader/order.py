"""In which order the units (sessions) of a split are read: a function of (seed, epoch) and of nothing else.

Legend: N units of the split, G row groups of all its parts.
"""

from dataclasses import dataclass

import numpy as np

from recfold.reader.settings import Order
from recfold.table import FoldedTable

_STRETCH_SAMPLES = 1 << 16


@dataclass(frozen=True)
class Units:
    """The units of a split in the order of its files: int64 [N] each.

    Args:
        part, row_group, row: where a unit is stored: part of the split, row group of the part, row of the row group.
        num_samples: how many samples it has.
        first_time: microseconds.
    """

    part: np.ndarray
    row_group: np.ndarray
    row: np.ndarray
    num_samples: np.ndarray
    first_time: np.ndarray

    def __len__(self) -> int:
        return len(self.part)

    def take(self, order: np.ndarray) -> "Units":
        """The same units in another order."""
        return Units(
            self.part[order],
            self.row_group[order],
            self.row[order],
            self.num_samples[order],
            self.first_time[order],
        )


def load_units(table: FoldedTable, split: str) -> Units:
    """Read where the units of a split are: two columns of every part.

    Raises:
        InputError: no such split, or a damaged file.
    """
    parts, row_groups, rows, counts, times = [], [], [], [], []
    for part in table.parts(split):
        index = part.unit_index()
        row_group = index["row_group"].to_numpy().astype(np.int64)
        begins = np.searchsorted(row_group, row_group)
        parts.append(np.full(len(row_group), part.index, dtype=np.int64))
        row_groups.append(row_group)
        rows.append(np.arange(len(row_group)) - begins)
        counts.append(index["n"].to_numpy().astype(np.int64))
        times.append(index["first_time"].to_numpy().astype(np.int64))
    nothing = [np.empty(0, dtype=np.int64)]
    return Units(*(np.concatenate(column or nothing) for column in (parts, row_groups, rows, counts, times)))


@dataclass(frozen=True)
class Course:
    """The units of one epoch in reading order.

    Args:
        units: in reading order.
        stretch: int64 [N], rising: units of one stretch lie in few row groups and are best decoded together.
    """

    units: Units
    stretch: np.ndarray


def course_of(units: Units, order: Order, seed: int, epoch: int, shuffle_window: int) -> Course:
    """Put units into the order of an epoch.

    `time`: by first timestamp; equal ones by part, row group and row. `shuffle`: row groups in random order; the units
    of each `shuffle_window` row groups that follow each other are shuffled together. The random words come from the
    counter-based generator Philox with key (seed, epoch), whose output numpy promises not to change.

    Args:
        units: in the order of the files.
    """
    if order == "time":
        ordered = units.take(np.lexsort((units.row, units.row_group, units.part, units.first_time)))
        begins = np.cumsum(ordered.num_samples) - ordered.num_samples
        return Course(ordered, begins // _STRETCH_SAMPLES)
    group, num_groups = _row_group_numbers(units)
    words = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(num_groups + len(units))
    place = np.empty(num_groups, dtype=np.int64)
    place[np.argsort(words[:num_groups], kind="stable")] = np.arange(num_groups)
    window = (place // shuffle_window)[group]
    by_window = np.lexsort((words[num_groups:], window))
    return Course(units.take(by_window), window[by_window])


def course_reference(units: Units, order: Order, seed: int, epoch: int, shuffle_window: int) -> list[int]:
    """The slow twin of `course_of`: numbers of the units, in reading order."""
    where = list(zip(units.part.tolist(), units.row_group.tolist(), units.row.tolist(), strict=True))
    if order == "time":
        return sorted(range(len(units)), key=lambda u: (units.first_time[u], *where[u]))
    groups = sorted({(part, row_group) for part, row_group, _ in where})
    philox = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))
    drawn = {group: int(philox.random_raw()) for group in groups}
    word = [int(philox.random_raw()) for _ in where]
    groups.sort(key=drawn.__getitem__)
    found: list[int] = []
    for first in range(0, len(groups), shuffle_window):
        window = groups[first : first + shuffle_window]
        found += sorted(
            (u for u, (part, group, _) in enumerate(where) if (part, group) in window), key=word.__getitem__
        )
    return found


def _row_group_numbers(units: Units) -> tuple[np.ndarray, int]:
    """Number of each unit's row group over all parts, and how many there are."""
    if not len(units):
        return np.empty(0, dtype=np.int64), 0
    changes = (np.diff(units.part) != 0) | (np.diff(units.row_group) != 0)
    group = np.concatenate([[0], np.cumsum(changes)])
    return group, int(group[-1]) + 1
