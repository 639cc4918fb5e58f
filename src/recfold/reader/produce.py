"""Produce the batches of a rank, in order, as named arrays: read row groups, decode, transform, cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recfold.reader.chunk import Chunk, Dictionaries, chunk_of
from recfold.reader.column import Column, Memory
from recfold.reader.cut import Arrays, cut_batch
from recfold.reader.dealing import Deal, Share, done_after, share_of, steps_of
from recfold.reader.layout import GroupLayout, Layout
from recfold.reader.made import Made, made_of
from recfold.reader.order import Course, Units, course_of
from recfold.reader.settings import ReaderSettings
from recfold.reader.shared import Shared
from recfold.reader.stored import Stored, decode, decode_dictionary, stored_columns
from recfold.table import FoldedTable, Part

_ROW_GROUPS = 1 << 32


@dataclass(frozen=True)
class Plan:
    """What a rank reads in (the rest of) an epoch; `num_steps` is the largest number of batches of any rank."""

    course: Course
    share: Share
    batch_size: int
    num_batches: int
    num_steps: int


def plan_of(units: Units, settings: ReaderSettings, epoch: int, deals: Sequence[Deal], rank: int) -> Plan:
    """The plan of a rank under the last of some deals; pure, so that every process finds the same.

    Args:
        units: in the order of the files.
        deals: of the epoch so far; the last one is under way, its steps do not matter here.
    """
    course = course_of(units, settings.order, settings.seed, epoch, settings.shuffle_window)
    counts = course.units.num_samples
    done = done_after(counts, deals[:-1], settings.block_samples)
    current = deals[-1]
    share = share_of(counts, done, settings.block_samples, rank, current.world_size)
    num_steps = steps_of(counts, done, settings.block_samples, current.world_size, current.batch_size)
    return Plan(course, share, current.batch_size, share.num_batches(current.batch_size), num_steps)


def produce(plan: Plan, store: "Store", batches: range) -> Iterator[Arrays]:
    """The batches numbered `batches` of a plan, in order."""
    share, size = plan.share, plan.batch_size
    first_unit = [share.range_of(batch, size)[0] for batch in batches]
    stretch = plan.course.stretch[share.unit[first_unit]] if len(batches) else []
    last_use = _last_uses(plan)
    begin = 0
    while begin < len(batches):
        end = begin + 1
        while end < len(batches) and stretch[end] == stretch[begin]:
            end += 1
        chunk, numbers, places = _chunk(plan, store, batches[begin:end])
        for batch in batches[begin:end]:
            pieces = share.pieces(batch, size)
            yield cut_batch(chunk, places[np.searchsorted(numbers, pieces.unit)], pieces.begin, pieces.end)
        next_unit = first_unit[end] if end < len(batches) else len(share.unit)
        store.keep({row_group for row_group, last in last_use.items() if last >= next_unit})
        del chunk  # its memory is the next one's
        begin = end


def _chunk(plan: Plan, store: "Store", batches: range) -> tuple[Chunk, np.ndarray, np.ndarray]:
    """The chunk of some batches; the units it is for (rising numbers of the course) and their places in it."""
    ranges = [plan.share.range_of(batch, plan.batch_size) for batch in batches]
    numbers = np.unique(np.concatenate([plan.share.unit[low:high] for low, high in ranges]))
    units = plan.course.units.take(numbers)
    places = np.empty(len(numbers), dtype=np.int64)
    found: list[Stored] = []
    parts: list[np.ndarray] = []
    first = 0
    key = _row_group_keys(units)
    for number in np.unique(key):
        here = np.flatnonzero(key == number)
        part, row_group = divmod(int(number), _ROW_GROUPS)
        stored, rows = store.row_group(part, row_group), units.row[here]
        low, high = int(rows.min()), int(rows.max()) + 1
        if high - low < stored.num_units:
            stored, rows = stored.between(low, high, store.layout), rows - low
        places[here] = first + rows
        first += stored.num_units
        found.append(stored)
        parts.append(np.full(stored.num_units, part, dtype=np.int64))
    chunk = chunk_of(Stored.concat(found, store.memory), np.concatenate(parts), store.layout, store.dictionaries)
    return chunk, numbers, places


def _row_group_keys(units: Units) -> np.ndarray:
    """One number for part and row group, int64 [N]."""
    return units.part * _ROW_GROUPS + units.row_group


def _last_uses(plan: Plan) -> dict[tuple[int, int], int]:
    """(part, row group) -> place in the share of the last unit that it holds."""
    key = _row_group_keys(plan.course.units)[plan.share.unit]
    distinct, from_end = np.unique(key[::-1], return_index=True)
    last = len(key) - 1 - from_end
    return {divmod(number, _ROW_GROUPS): place for number, place in zip(distinct.tolist(), last.tolist(), strict=True)}


class Store:
    """The row groups and dictionaries of a split, decoded when they are first needed."""

    def __init__(self, table: FoldedTable, split: str, layout: Layout) -> None:
        self.layout = layout
        self._parts = table.parts(split)
        self._columns = stored_columns(layout, table.columns(split))
        self._row_groups: dict[tuple[int, int], Stored] = {}
        self.memory = Memory()
        self._own: dict[tuple[str, int], dict[str, Column]] = {}
        self._shared: dict[str, Made] = {}
        self.dictionaries = Dictionaries(self.shared_dictionary, self.own_dictionary)

    def row_group(self, part: int, row_group: int) -> Stored:
        """Raises:
        InputError: the file is missing or damaged.
        """
        key = (part, row_group)
        if key not in self._row_groups:
            source = self._parts[part]
            raw = source.row_group(row_group, self._columns)
            self._row_groups[key] = decode(raw, self.layout, source.path)
        return self._row_groups[key]

    def share(self, dictionaries: Shared) -> None:
        """Use dictionaries that another process has transformed, from the memory that they lie in."""
        self._shared |= dictionaries.map()
        dictionaries.close()

    def shared_dictionaries(self) -> Shared:
        """All dictionaries that the split shares, transformed, in memory for other processes.

        Raises:
            InputError: a file is missing or damaged.
        """
        groups = [group.name for group in self.layout.groups if group.stored_as == "dictionary" and group.shared]
        return Shared.of({group: self.shared_dictionary(group) for group in groups})

    def own_dictionary(self, group: str, part: int) -> dict[str, Column]:
        """A part's own dictionary, decoded.

        Raises:
            InputError: the file is missing or damaged.
        """
        key = (group, part)
        if key not in self._own:
            self._own[key] = self._decoded(group, self._parts[part])
        return self._own[key]

    def shared_dictionary(self, group: str) -> Made:
        """All rows of a dictionary that the split shares, transformed once.

        Raises:
            InputError: the file is missing or damaged.
        """
        if group not in self._shared:
            columns = self._decoded(group, self._parts[0])
            raw = {feature: column.lists() for feature, column in columns.items()}
            self._shared[group] = made_of(self._group(group), self.layout, raw)
        return self._shared[group]

    def keep(self, row_groups: set[tuple[int, int]]) -> None:
        """Drop all row groups but some, and the dictionaries of parts of which none is left."""
        for key in self._row_groups.keys() - row_groups:
            del self._row_groups[key]
        parts = {part for part, _ in row_groups}
        for group, part in list(self._own):
            if part not in parts:
                del self._own[group, part]

    def _decoded(self, group: str, source: Part) -> dict[str, Column]:
        return decode_dictionary(source.dictionary(group, keep=False), self._group(group), self.layout, source.path)

    def _group(self, name: str) -> GroupLayout:
        return next(group for group in self.layout.groups if group.name == name)
