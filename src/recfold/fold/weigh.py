"""What each way to store some features would take, estimated from whole units of the logs: pure functions of a sample.

Bytes are those before compression, per sample of the log: elements (text: its UTF-8 and 4 bytes a string), 2 bytes for
the length of every stored list, and the indexes in the narrowest integers that hold them.

    form         stored lists                        index
    sample       n                                   none
    session      U runs                              inverse of n
    window       merged list of each unit            inverse of n, start and length of U windows
    dictionary   R rows                              inverse of n

A session's dedup factor is n / U = S / (1 + (S - 1) p), with S samples a unit and p the chance that a feature changes
at the next sample; a window's is expanded / merged values = S l / (l + (S - 1) p a), with lists of length l and a new
elements a change.

The rows of a dictionary of the whole log are estimated from above. Of the n samples here, of m owners (users, or units
without a user), d contents are distinct and q of them occur with one owner only. Another owner brings q / m new ones on
average, and later ones never more, so a log of N samples has at most about R = d + (N / n - 1) q rows (never more than
N). A user's samples meet in one partition, so for a user dictionary R / N is d / n.

Legend: n samples, U runs, N samples of the whole log.
Source: RecD (Zhao et al., MLSys 2023) for the dedup factors; Good (1953), "The population frequencies of species", for
the chance q / m that the next one is new.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.fold.bits import Bits, bits_of, changed, content_hash, element_hash
from recfold.fold.columns import narrowest
from recfold.fold.partition import UNIT
from recfold.fold.windows import Merged, merge_windows
from recfold.spec import Schema
from recfold.table.expand import feature_columns
from recfold.table.lists import one_array, ranges
from recfold.table.manifest import Form

MIN_DEDUP_FACTOR = 1.25
"""Below it a feature is stored once per sample: an inverse and a gather would cost about what they save."""
MAX_CHANGE = 0.2
LENGTH_BYTES = 2
"""Of a stored list: as much as the narrowest start and length of a window, so that a window has to save elements."""
TEXT_BYTES = 4
_REMEMBERED = 64

Key = Literal["user", "item"]


@dataclass(frozen=True)
class Windows:
    """What merging the windows of some features gave.

    Attributes:
        overlap: elements of the windows per element of the merged lists.
        mean_length: of a window. new_per_change: new elements when it changes. newest: the end that grows.
    """

    merged: Merged
    overlap: float
    mean_length: float
    new_per_change: float
    newest: Literal["last", "first"]


@dataclass(frozen=True)
class _Facts:
    """One feature: its columns, the bytes of their elements [V] (or of each, where alike), which samples start a run
    [n], the bytes of every sample's own copy [n], and a number for each content [n].
    """

    columns: tuple[pa.Array, ...]
    offsets: np.ndarray | None
    null_row: np.ndarray | None
    element_bytes: tuple[np.ndarray | int, ...]
    change: np.ndarray
    row_bytes: np.ndarray
    code: np.ndarray


class Weighing:
    """Samples made ready for weighing.

    Args:
        schema: what the features are.
        sample: sorted samples of whole units with `unit`, and of candidate, user and split what the logs have.
        num_samples: of the whole log; as many as here where not given.
        shapes: feature column -> digest of its lengths and nulls in the whole log; those of the sample count where not
            given.
    """

    def __init__(
        self,
        schema: Schema,
        sample: pa.Table,
        num_samples: int | None = None,
        shapes: Mapping[str, str] | None = None,
    ) -> None:
        self.schema = schema
        self.num_samples = sample.num_rows
        self.total = max(num_samples or 0, sample.num_rows)
        self._sample = sample
        self._shapes = shapes
        unit = one_array(sample[UNIT]).to_numpy()
        self.begins = _steps(unit)
        self.num_units = int(self.begins.sum())
        self._unit = np.cumsum(self.begins) - 1
        split = sample["split"] if "split" in sample.column_names else None
        self._split = np.zeros(len(unit), np.int64) if split is None else _codes(element_hash(one_array(split)))
        self._owner = self._owners()
        self._owner_change = _steps(self._owner)
        candidate = None
        if "candidate" in sample.column_names:
            candidate = _codes(element_hash(one_array(sample["candidate"])))
        user = self._owner if "user" in sample.column_names else None
        self._neighbours = {"item": self._meetings(candidate), "user": self._meetings(user)}
        self._facts: dict[str, _Facts] = {}
        self._change: dict[tuple[str, ...], np.ndarray] = {}
        self._content: dict[tuple[str, ...], np.ndarray] = {}
        self._windows: dict[tuple[str, ...], Windows | None] = {}

    def forms(self, features: Sequence[str]) -> dict[tuple[str, str | None], Form]:
        """Every form in which these features can be stored together, by (kind, key).

        Once per sample and as a session group is always possible; as a window group where all are lists that line up;
        as a dictionary where all values are those of the key and some are lists.
        """
        found = [self.per_sample(features), self.session(features), self.window(features)]
        if self.has_list(features):
            keys: tuple[Key, ...] = ("item", "user")
            found += [self.dictionary(features, k) for k in keys if all(self.belongs(name, k) for name in features)]
        return {(form.kind, form.key): form for form in found if form is not None}

    def per_sample(self, features: Sequence[str]) -> Form:
        return self._form("sample", 1.0, sum(int(self._of(name).row_bytes.sum()) for name in features))

    def session(self, features: Sequence[str]) -> Form:
        first = np.flatnonzero(self.changes(features))
        stored = sum(int(self._of(name).row_bytes[first].sum()) for name in features)
        return self._form("session", self.num_samples / len(first), stored + self._inverse_bytes(first))

    def window(self, features: Sequence[str]) -> Form | None:
        """None where the features are not lists that line up."""
        found = self.windows(features)
        if found is None:
            return None
        first = np.flatnonzero(self.changes(features))
        merged, stored, expanded = found.merged, 0, 0
        lists = 0
        for name in features:
            facts = self._of(name)
            assert facts.offsets is not None
            lists += len(facts.columns)
            expanded += len(facts.columns) * int(facts.offsets[-1])
            taken = ranges(facts.offsets[first], np.diff(facts.offsets)[first])[merged.take]
            for each in facts.element_bytes:
                stored += len(taken) * each if isinstance(each, int) else int(each[taken].sum())
        index = len(first) * sum(_width(int(values.max(initial=0))) for values in (merged.start, merged.length))
        values = lists * len(merged.take)
        factor = expanded / values if values else self.num_samples / len(first)
        return self._form("window", factor, stored + index + self._inverse_bytes(first))

    def dictionary(self, features: Sequence[str], key: Key) -> Form:
        code = self._contents(features)
        at = np.flatnonzero(self.changes(features) | self._owner_change)
        first = at[np.unique(code[at], return_index=True)[1]]
        rows = float(len(first))
        if key == "item":
            rows += (self.total / self.num_samples - 1) * _with_one_owner(code[at], self._owner[at])
        else:
            rows *= self.total / self.num_samples
        rows = min(rows, float(self.total))
        row_bytes = sum(int(self._of(name).row_bytes[first].sum()) for name in features) / len(first)
        stored = rows * row_bytes + self.total * _width(int(rows) - 1)
        return Form(
            kind="dictionary",
            key=key,
            dedup_factor=_rounded(self.total / rows),
            bytes_per_sample=_rounded(stored / self.total),
        )

    def belongs(self, feature: str, key: Key) -> bool:
        """Whether the values are the candidate's, or the user's: from one unit to the next one with the same key (in a
        split) they differ at most MAX_CHANGE times as often as between any two samples.
        """
        before, after = self._neighbours[key]
        if len(before) == 0:
            return False
        code = self._of(feature).code
        differs = float((code[before] != code[after]).mean())
        shares = np.bincount(code) / self.num_samples
        return differs <= MAX_CHANGE * (1 - float((shares**2).sum()))

    def has_list(self, features: Sequence[str]) -> bool:
        """Whether any is a list or a vector: single values Parquet keeps in dictionaries of its own."""
        return any(self._of(name).offsets is not None for name in features)

    def values_bytes(self, feature: str, features: Sequence[str]) -> float:
        """What one of the features takes per sample in a session group of them, without the inverse."""
        first = np.flatnonzero(self.changes(features))
        return int(self._of(feature).row_bytes[first].sum()) / self.num_samples

    def changes(self, features: Sequence[str]) -> np.ndarray:
        """Which samples start a run of all these features together. [n] bool"""
        return _grown(self._change, features, lambda name: self._of(name).change, np.logical_or)

    def line_up(self, features: Sequence[str]) -> bool:
        """Whether these are lists of the same length, and null together, in every row of the log."""
        if not all(self.schema.features[name].is_list for name in features):
            return False
        if self._shapes is not None:
            return len({self._shapes.get(f"feature.{name}", name) for name in features}) == 1
        lengths = [_lengths(self._of(name)) for name in features]
        return all(np.array_equal(lengths[0], other) for other in lengths[1:])

    def windows(self, features: Sequence[str]) -> Windows | None:
        """The merged lists of these features; None where they are not lists that line up."""
        wanted = tuple(features)
        if wanted not in self._windows:
            self._windows[wanted] = self._merged(wanted) if self.line_up(wanted) else None
        return self._windows[wanted]

    def _merged(self, features: Sequence[str]) -> Windows:
        first = np.flatnonzero(self.changes(features))
        columns = [_rows(column, first) for name in features for column in self._of(name).columns]
        unit = self._unit[first]
        merged = merge_windows(columns, unit, self.num_units)
        length = np.maximum(merged.length, 0)
        same = unit[1:] == unit[:-1]
        began = np.concatenate([[True], ~same])
        changes = len(first) - self.num_units
        moves = np.diff(merged.start)[same & (length[1:] > 0) & (length[:-1] > 0)]
        return Windows(
            merged,
            overlap=int(length.sum()) / max(len(merged.take), 1),
            mean_length=float(length.mean()),
            new_per_change=max(0.0, (len(merged.take) - float(length[began].sum())) / changes) if changes else 0.0,
            newest="first" if (moves < 0).sum() > (moves > 0).sum() else "last",
        )

    def _form(self, kind: Literal["sample", "session", "window"], factor: float, stored: int) -> Form:
        return Form(kind=kind, dedup_factor=_rounded(factor), bytes_per_sample=_rounded(stored / self.num_samples))

    def _inverse_bytes(self, first: np.ndarray) -> int:
        runs = np.bincount(self._unit[first])
        return self.num_samples * _width(int(runs.max()) - 1)

    def _owners(self) -> np.ndarray:
        """The user of each sample; where it is not known, its unit. [n]"""
        if "user" not in self._sample.column_names:
            return self._unit
        column = one_array(self._sample["user"])
        known = column.is_valid().to_numpy(zero_copy_only=False)
        return np.where(known, _codes(element_hash(column)), len(self._unit) + self._unit)

    def _meetings(self, key: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of samples: the last one of a key in a unit, and the first in the next unit that has the key."""
        if key is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        order = np.lexsort((np.arange(len(key)), key, self._split))
        before, after = order[:-1], order[1:]
        meet = (key[before] == key[after]) & (self._split[before] == self._split[after])
        meet &= self._unit[before] != self._unit[after]
        return before[meet], after[meet]

    def _contents(self, features: Sequence[str]) -> np.ndarray:
        """A number for each content of all these features in a split. [n]"""
        found = _grown(self._content, features, lambda name: self._of(name).code, lambda a, b: _joined([a, b]))
        return _joined([self._split, found])

    def _of(self, name: str) -> _Facts:
        if name not in self._facts:
            self._facts[name] = self._facts_of(name)
        return self._facts[name]

    def _facts_of(self, name: str) -> _Facts:
        columns = tuple(one_array(self._sample[column]) for column in feature_columns(self.schema, name))
        bits = [bits_of(column) for column in columns]
        change = reduce(np.logical_or, (changed(column) for column in bits), self.begins)
        sizes = tuple(_element_bytes(column.values) for column in bits)
        own = np.sum([_row_bytes(column, each) for column, each in zip(bits, sizes, strict=True)], axis=0)
        first = np.flatnonzero(change)
        code = _joined([_codes(content_hash(_rows(column, first))) for column in columns])[np.cumsum(change) - 1]
        return _Facts(columns, bits[0].offsets, bits[0].null_row, sizes, change, own, code)


def _grown(
    known: dict[tuple[str, ...], np.ndarray],
    features: Sequence[str],
    of: Callable[[str], np.ndarray],
    add: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """What all features have together, from what is `known` of all but the last; the last few answers are kept:
    groups are tried one feature longer each time.
    """
    wanted = tuple(features)
    if wanted not in known:
        before = known.get(wanted[:-1])
        found = reduce(add, map(of, wanted)) if before is None else add(before, of(wanted[-1]))
        if len(known) >= _REMEMBERED:
            known.pop(next(iter(known)))
        known[wanted] = found
    return known[wanted]


def _rounded(value: float) -> float:
    return round(value, 4)


def _width(largest: int) -> int:
    """Bytes of an index whose largest entry is this."""
    return int(narrowest(-1, max(largest, 0)).bit_width) // 8


def _element_bytes(values: pa.Array) -> np.ndarray | int:
    """Of every element, or of each where they are alike."""
    if pa.types.is_string(values.type):
        return pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64) + TEXT_BYTES
    return int(values.type.bit_width) // 8


def _row_bytes(column: Bits, each: np.ndarray | int) -> np.ndarray:
    """What a copy of each row takes. [n]"""
    if column.offsets is None:
        return np.broadcast_to(np.asarray(each, np.int64), len(column.bits))
    if isinstance(each, int):
        return np.diff(column.offsets) * each + LENGTH_BYTES
    through = np.concatenate([[0], np.cumsum(each)])
    return np.diff(through[column.offsets]) + LENGTH_BYTES


def _lengths(facts: _Facts) -> np.ndarray:
    """Of a feature's lists; -1 for a null list. [n]"""
    assert facts.offsets is not None
    lengths = np.diff(facts.offsets)
    return lengths if facts.null_row is None else np.where(facts.null_row, -1, lengths)


def _rows(column: pa.Array, rows: np.ndarray) -> Bits:
    return bits_of(column.take(pa.array(rows)))


def _steps(codes: np.ndarray) -> np.ndarray:
    """Which differ from the one before; the first does. [n] bool"""
    found = np.ones(len(codes), bool)
    found[1:] = codes[1:] != codes[:-1]
    return found


def _codes(hashes: np.ndarray) -> np.ndarray:
    """0, 1, ... for each different hash. A collision, of chance 2**-64 a pair, would shift an estimate, no value."""
    return np.unique(hashes, return_inverse=True)[1].astype(np.int64)


def _joined(codes: Sequence[np.ndarray]) -> np.ndarray:
    """0, 1, ... for each different tuple. [n]"""
    return reduce(lambda a, b: _codes(a * (int(b.max(initial=0)) + 1) + b), codes)


def _with_one_owner(code: np.ndarray, owner: np.ndarray) -> int:
    """How many contents occur with one owner only."""
    span = int(owner.max()) + 1
    return int((np.bincount(np.unique(code * span + owner) // span) == 1).sum())
