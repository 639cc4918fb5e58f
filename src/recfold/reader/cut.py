"""Cut one batch out of a chunk: only lists and merged positions that one of its samples uses.

Legend: B samples of the batch, U distinct rows of a group, F features, V values of all lists, P units touched.
"""

from collections.abc import Iterable

import numpy as np

from recfold.reader.chunk import Chunk, ChunkGroup
from recfold.transform import Lists, spans

Arrays = dict[str, np.ndarray]
"""A batch as named arrays: `labels`, `weight`, `key.<name>` and, per group, `<group>/<part>`."""


def cut_batch(chunk: Chunk, unit: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Arrays:
    """The batch that consists of samples [begin, end) of some units, in order.

    Args:
        unit: numbers of the units in the chunk, int64 [P], none twice.
        begin, end: int64 [P].
    """
    at_B, _ = spans(chunk.offsets[unit] + begin, end - begin)
    piece_B = np.repeat(np.arange(len(unit)), end - begin)
    arrays: Arrays = {"labels": chunk.labels[at_B]}
    if chunk.weight is not None:
        arrays["weight"] = chunk.weight[at_B]
    for name, key in chunk.keys.items():
        arrays[f"key.{name}"] = key[at_B]
    for group in chunk.groups:
        rows_U, inverse_B = _distinct(group, at_B)
        if inverse_B is not None:
            arrays[f"{group.layout.name}/inverse"] = inverse_B
        if group.dense is not None:
            arrays[f"{group.layout.name}/dense"] = group.dense[rows_U]
        if group.merged is not None:
            piece_U = piece_B
            if inverse_B is not None:
                piece_U = np.empty(len(rows_U), dtype=np.int64)
                piece_U[inverse_B] = piece_B
            parts = _windows(group, rows_U, unit, piece_U)
        else:
            parts = {
                **_lists("lists", group.lists.values(), rows_U, np.int64, group.layout.weighted),
                **_lists("dense_lists", group.dense_lists.values(), rows_U, np.float32, False),
            }
        arrays |= {f"{group.layout.name}/{name}": array for name, array in parts.items()}
    return arrays


def _distinct(group: ChunkGroup, at_B: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Distinct rows that samples use, and the inverse (None: every sample has its own, in order)."""
    if group.rows is None:
        return at_B, None
    rows_B = group.rows[at_B]
    if group.layout.stored_as == "dictionary":
        used_R = np.zeros(group.num_rows, dtype=bool)
        used_R[rows_B] = True
        rows_U = np.flatnonzero(used_R)
        number_R = np.empty(group.num_rows, dtype=np.int64)
        number_R[rows_U] = np.arange(len(rows_U))
        return rows_U, number_R[rows_B]
    changes = np.ones(len(rows_B), dtype=bool)
    np.not_equal(rows_B[1:], rows_B[:-1], out=changes[1:])
    rows_U, inverse_B = rows_B[changes], np.cumsum(changes) - 1
    if group.layout.stored_as == "window":
        # a window that comes back later in its unit is taken once
        distinct, first, inverse = np.unique(rows_U, return_index=True, return_inverse=True)
        if len(distinct) < len(rows_U):
            place = np.empty(len(distinct), dtype=np.int64)
            order = np.argsort(first)
            place[order] = np.arange(len(distinct))
            rows_U, inverse_B = distinct[order], place[inverse[inverse_B]]
    return rows_U, None if len(rows_U) == len(rows_B) else inverse_B


def _lists(part: str, features: Iterable[Lists], rows_U: np.ndarray, dtype: type, weighted: bool) -> Arrays:
    """The lists of some features, feature-major: values, offsets, weights."""
    taken = [lists.take(rows_U) for lists in features]
    if not taken:
        return {}
    offsets = np.zeros(len(taken) * len(rows_U) + 1, dtype=np.int64)
    np.cumsum(np.concatenate([lists.length for lists in taken]), out=offsets[1:])
    values = np.empty(offsets[-1], dtype=dtype)
    weights = np.ones(offsets[-1], dtype=np.float32) if weighted else None
    for number, lists in enumerate(taken):
        low, high = offsets[number * len(rows_U)], offsets[(number + 1) * len(rows_U)]
        at = _positions(lists, int(high - low))
        np.take(lists.values, at, out=values[low:high], mode="clip")
        if weights is not None and lists.weights is not None:
            np.take(lists.weights, at, out=weights[low:high], mode="clip")
    found = {f"{part}.values": values, f"{part}.offsets": offsets}
    if weights is not None:
        found[f"{part}.weights"] = weights
    return found


def _positions(lists: Lists, total: int) -> np.ndarray:
    """Positions of the values of all lists, one after the other."""
    if total == len(lists.length) and (lists.length == 1).all():
        return lists.start
    return spans(lists.start, lists.length)[0]


def _windows(group: ChunkGroup, rows_U: np.ndarray, unit_P: np.ndarray, piece_U: np.ndarray) -> Arrays:
    """The merged lists of the units touched, cut down to the positions that a window covers.

    Args:
        piece_U: which of the P units each window belongs to.
    """
    assert group.merged is not None
    features = [*group.lists.values(), *group.dense_lists.values()]
    begin_P = group.merged[unit_P]
    positions, bounds_P = spans(begin_P, group.merged[unit_P + 1] - begin_P)
    start_U = features[0].start[rows_U] - begin_P[piece_U] + bounds_P[:-1][piece_U]
    length_U = features[0].length[rows_U]
    start_U = np.where(length_U > 0, start_U, 0)
    total = len(positions)
    cover = np.bincount(start_U, minlength=total + 1) - np.bincount(start_U + length_U, minlength=total + 1)
    used = np.cumsum(cover[:total]) > 0
    place = np.zeros(total + 1, dtype=np.int64)
    np.cumsum(used, out=place[1:])
    merged = np.diff(place[bounds_P])
    merged = merged[merged > 0]
    kept = positions[used]
    found: Arrays = {"start": place[start_U], "length": length_U}
    for part, lists, dtype in (
        ("lists", list(group.lists.values()), np.int64),
        ("dense_lists", list(group.dense_lists.values()), np.float32),
    ):
        if not lists:
            continue
        values = np.empty((len(lists), len(kept)), dtype=dtype)
        weights = np.ones(values.shape, dtype=np.float32) if part == "lists" and group.layout.weighted else None
        for number, feature in enumerate(lists):
            np.take(feature.values, kept, out=values[number], mode="clip")
            if weights is not None and feature.weights is not None:
                np.take(feature.weights, kept, out=weights[number], mode="clip")
        found[f"{part}.values"] = values.reshape(-1)
        found[f"{part}.offsets"] = np.concatenate([[0], np.cumsum(np.tile(merged, len(lists)))])
        if weights is not None:
            found[f"{part}.weights"] = weights.reshape(-1)
    return found
