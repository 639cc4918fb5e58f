"""Which ids of a feature are frequent enough to get small codes: from a sample of the folded lists.

Legend: V elements of the sample, K frequent ids.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from recfold.fold.buckets import read_arrow
from recfold.fold.tasks import FoldedFiles
from recfold.fold.threads import each
from recfold.spec import Schema
from recfold.table.id_codes import IdCoding
from recfold.table.lists import is_list, one_array

COUNTS = (0, 256, 1024, 4096, 16384)
"""Numbers of frequent ids that are tried."""
SAMPLE = 1 << 19
"""About so many elements of a feature are counted."""
_WORTH = 0.95
"""Codes are used where they take less than this share of the ids' bytes."""


def choose_codings(
    files: Sequence[FoldedFiles], schema: Schema, ranges: Mapping[str, tuple[int, int]]
) -> dict[str, IdCoding]:
    """The codings that pay, of the integer id features that are stored in the parts of one split.

    Args:
        ranges: `feature.NAME` -> numbers between which all ids are; those that are not here are no integers.
    """

    def coding_of(name: str) -> IdCoding | None:
        column = f"feature.{name}"
        coding = choose_coding(_sample(files, column), sum(entry.features[name].values for entry in files))
        return coding if coding is not None and coding.fits(*ranges[column]) else None

    names = []
    for name, feature in schema.features.items():
        group = schema.groups.get(schema.group_of(name))
        of_parts = group is None or group.kind != "dictionary"
        if feature.kind in ("id", "ids", "sequence") and of_parts and f"feature.{name}" in ranges:
            names.append(name)
    return {name: coding for name, coding in zip(names, each(coding_of, names), strict=True) if coding is not None}


def choose_coding(ids_V: np.ndarray, num_elements: int) -> IdCoding | None:
    """The coding that takes fewest bytes, or None where the ids themselves take hardly more.

    Ids are counted in one half of the sample and bytes estimated on the other, by the entropy of each of their bytes,
    which is what byte-stream split and an entropy coder make of them.

    Args:
        num_elements: that will be written.
    """
    if len(ids_V) < 2:
        return None
    counted, judged = ids_V[::2], ids_V[1::2]
    low = int(ids_V.min())
    if int(ids_V.max()) - low >= 1 << 62:
        return None
    frequent = _by_frequency(counted)
    plain_bits = _bits(judged)
    best, fewest = None, _WORTH * plain_bits * num_elements
    for count in COUNTS:
        coding = IdCoding(frequent[:count], low)
        bits = _bits(coding.encode(judged)) * num_elements + plain_bits * len(coding.frequent)
        if bits < fewest:
            best, fewest = len(coding.frequent), bits
    return None if best is None else IdCoding(_by_frequency(ids_V)[:best], low)


def _by_frequency(ids: np.ndarray) -> np.ndarray:
    """Distinct ids, the most frequent first; of equally frequent ones the smallest."""
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct[np.argsort(-counts, kind="stable")].astype(np.int64)


def _bits(numbers: np.ndarray) -> float:
    """Entropy of an element: the sum over its bytes."""
    bytes_V8 = numbers.astype("<i8").view(np.uint8).reshape(-1, 8)
    total = 0.0
    for place in range(8):
        share = np.bincount(bytes_V8[:, place], minlength=256) / len(bytes_V8)
        share = share[share > 0]
        total -= float((share * np.log2(share)).sum())
    return total


def _sample(files: Sequence[FoldedFiles], column: str) -> np.ndarray:
    """Elements of a column from the first partitions."""
    found: list[np.ndarray] = []
    held = 0
    for entry in files:
        array = one_array(read_arrow(entry.units)[column])
        while is_list(array.type):
            array = array.flatten()
        found.append(array.drop_null().to_numpy(zero_copy_only=False).astype(np.int64))
        held += len(found[-1])
        if held >= SAMPLE:
            break
    return np.concatenate(found)[:SAMPLE] if found else np.zeros(0, np.int64)
