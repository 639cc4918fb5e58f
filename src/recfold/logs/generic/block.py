"""What every file format gives: the columns of a set of files, and their rows block by block."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.logs.generic.column_type import ColumnType

BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class BadRow:
    """A row that could not even be read: its number in the file, why, and what stood there, as JSON."""

    number: int
    reason: str
    content: str


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Args:
        rows: columns as the file calls them.
        numbers: of the rows in the file, int64, rising.
        faults: rows (bool) that a cell spoils, with the reason.
        bad: rows that are not among `rows`.
    """

    rows: pa.Table
    numbers: np.ndarray
    faults: tuple[tuple[np.ndarray, str], ...] = ()
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The columns of a set of files.

    Args:
        types: over all files, in order of appearance.
        present: file -> its columns; for a format in which every row may have others: those of all files.
    """

    types: Mapping[str, ColumnType]
    present: Mapping[Path, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        endings: of its files' names.
        columns: (files, columns declared to hold lists) -> what the files hold; reads no more than it must.
        blocks: (file, wanted columns with their types) -> its rows, from the beginning.
    """

    endings: tuple[str, ...]
    columns: Callable[[tuple[Path, ...], Collection[str]], Columns]
    blocks: Callable[[Path, Mapping[str, ColumnType]], Iterator[Block]]
