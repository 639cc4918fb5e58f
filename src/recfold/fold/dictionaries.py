"""The item dictionary of a split: the partitions' local rows merged, verified bit for bit, and numbered anew."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.fold.bits import distinct_rows
from recfold.fold.buckets import read_arrow
from recfold.table.lists import one_array

_LEAST_BYTES = 64 << 20


@dataclass(frozen=True)
class MergedDictionary:
    """One dictionary of a split.

    Attributes:
        rows: distinct rows in the order of their first use, partition by partition.
        remaps: for each file the number in `rows` of each of its rows.
    """

    rows: pa.Table
    remaps: list[np.ndarray]


def merge_dictionaries(files: Sequence[Path]) -> MergedDictionary:
    """Merge dictionaries that repeat each other.

    Rows are compared whenever as many wait as are known, so that memory holds about twice the result and every row is
    hashed a few times only.
    """
    known: pa.Table | None = None
    waiting: list[pa.Table] = []
    remaps: list[np.ndarray] = []
    for number, path in enumerate(files):
        waiting.append(read_arrow(path))
        held = sum(table.nbytes for table in waiting)
        last = number == len(files) - 1
        if last or held > max(_LEAST_BYTES, 0 if known is None else known.nbytes):
            known, found = _merged(known, waiting)
            remaps += found
            waiting = []
    assert known is not None
    return MergedDictionary(known, remaps)


def _merged(known: pa.Table | None, waiting: list[pa.Table]) -> tuple[pa.Table, list[np.ndarray]]:
    """Known rows keep their numbers: they are distinct and come first."""
    begin = 0 if known is None else known.num_rows
    together = pa.concat_tables([*([] if known is None else [known]), *waiting]).combine_chunks()
    first, inverse = distinct_rows([one_array(column) for column in together.columns])
    ends = np.cumsum([begin, *(table.num_rows for table in waiting)])
    return together.take(pa.array(first)), [inverse[a:b] for a, b in itertools.pairwise(ends)]
