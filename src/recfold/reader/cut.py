"""Cut one batch out of a chunk: only lists and merged positions that one of its samples uses.

Legend: B samples of the batch, U distinct rows of a group, F features, V values of all lists, P units touched.
"""

from collections.abc import Sequence

import numpy as np

from recfold.reader.chunk import Chunk, ChunkGroup
from recfold.reader.made import Made, made_of_rows
from recfold.transform import Lists, adjoining, spans

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
        made = group.made
        taken: np.ndarray | None = rows_U
        if made is None:
            made, taken = made_of_rows(group.layout, chunk.layout, group.columns, rows_U), None
        if made.dense is not None:
            arrays[f"{group.layout.name}/dense"] = made.dense if taken is None else made.dense[taken]
        if group.merged is not None:
            piece_U = piece_B
            if inverse_B is not None:
                piece_U = np.empty(len(rows_U), dtype=np.int64)
                piece_U[inverse_B] = piece_B
            parts = _windows(made, group.merged, group.layout.weighted, rows_U, unit, piece_U)
        else:
            parts = {
                **_lists("lists", made.lists, taken, np.int64, group.layout.weighted),
                **_lists("dense_lists", made.dense_lists, taken, np.float32, False),
            }
        arrays |= {f"{group.layout.name}/{name}": array for name, array in parts.items()}
    return arrays


def _distinct(group: ChunkGroup, at_B: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Distinct rows that samples use, and the inverse (None: every sample has its own, in order)."""
    if group.rows is None:
        return at_B, None
    rows_B = group.rows[at_B]
    if group.layout.stored_as == "dictionary":
        return np.unique(rows_B, return_inverse=True)
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


def _lists(part: str, blocks: Sequence[Lists], rows_U: np.ndarray | None, dtype: type, weighted: bool) -> Arrays:
    """The lists of some features, feature-major: values, offsets, weights.

    Args:
        blocks: as `Made` has them.
        rows_U: which lists of each block, which then has one feature; all of them where None.
    """
    taken = [lists if rows_U is None else lists.take(rows_U) for lists in blocks]
    if not taken:
        return {}
    length = taken[0].length if len(taken) == 1 else np.concatenate([lists.length for lists in taken])
    offsets = np.zeros(len(length) + 1, dtype=np.int64)
    np.cumsum(length, out=offsets[1:])
    # rows made for this batch may go out as they are; those that other batches take too must be copied
    if rows_U is None and len(taken) == 1 and _is_whole(taken[0], dtype, weighted):
        found = {f"{part}.values": taken[0].values, f"{part}.offsets": offsets}
        return found | ({f"{part}.weights": taken[0].weights} if weighted else {})
    values = np.empty(offsets[-1], dtype=dtype)
    weights = np.ones(offsets[-1], dtype=np.float32) if weighted else None
    last = 0
    for lists in taken:
        first, last = last, last + lists.num_lists
        low, high = offsets[first], offsets[last]
        at = _positions(lists, int(high - low))
        np.take(lists.values, at, out=values[low:high], mode="clip")
        if weights is not None and lists.weights is not None:
            np.take(lists.weights, at, out=weights[low:high], mode="clip")
    found = {f"{part}.values": values, f"{part}.offsets": offsets}
    if weights is not None:
        found[f"{part}.weights"] = weights
    return found


def _is_whole(lists: Lists, dtype: type, weighted: bool) -> bool:
    """Whether a buffer is what a batch wants: of its type, and the lists one after the other with nothing between."""
    if lists.values.dtype != dtype or (weighted and lists.weights is None):
        return False
    return len(lists.values) == int(lists.length.sum()) and adjoining(lists.start, lists.length)


def _positions(lists: Lists, total: int) -> np.ndarray:
    """Positions of the values of all lists, one after the other."""
    if total == len(lists.length) and (lists.length == 1).all():
        return lists.start
    return spans(lists.start, lists.length)[0]


def _windows(
    made: Made, merged: np.ndarray, weighted: bool, rows_U: np.ndarray, unit_P: np.ndarray, piece_U: np.ndarray
) -> Arrays:
    """The merged lists of the units touched, cut down to the positions that a window covers.

    Args:
        merged: where each unit's merged list lies.
        piece_U: which of the P units each window belongs to.
    """
    features = [*made.lists, *made.dense_lists]
    begin_P = merged[unit_P]
    positions, bounds_P = spans(begin_P, merged[unit_P + 1] - begin_P)
    start_U = features[0].start[rows_U] - begin_P[piece_U] + bounds_P[:-1][piece_U]
    length_U = features[0].length[rows_U]
    start_U = np.where(length_U > 0, start_U, 0)
    total = len(positions)
    cover = np.bincount(start_U, minlength=total + 1) - np.bincount(start_U + length_U, minlength=total + 1)
    used = np.cumsum(cover[:total]) > 0
    place = np.zeros(total + 1, dtype=np.int64)
    np.cumsum(used, out=place[1:])
    kept_length = np.diff(place[bounds_P])
    kept_length = kept_length[kept_length > 0]
    kept = positions[used]
    found: Arrays = {"start": place[start_U], "length": length_U}
    for part, lists, dtype in (
        ("lists", made.lists, np.int64),
        ("dense_lists", made.dense_lists, np.float32),
    ):
        if not lists:
            continue
        values = np.empty((len(lists), len(kept)), dtype=dtype)
        weights = np.ones(values.shape, dtype=np.float32) if part == "lists" and weighted else None
        for number, feature in enumerate(lists):
            np.take(feature.values, kept, out=values[number], mode="clip")
            if weights is not None and feature.weights is not None:
                np.take(feature.weights, kept, out=weights[number], mode="clip")
        found[f"{part}.values"] = values.reshape(-1)
        found[f"{part}.offsets"] = np.concatenate([[0], np.cumsum(np.tile(kept_length, len(lists)))])
        if weights is not None:
            found[f"{part}.weights"] = weights.reshape(-1)
    return found
