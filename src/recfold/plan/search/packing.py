"""Whether pieces fit into memory at all, whatever they cost: packing bins of one size."""

import numpy as np

NODES = 8_000
"""Placements that the complete search tries before it gives up."""

ROUNDS = 400
"""Exchanges that the incomplete one makes."""


def pack(num_bytes_P: np.ndarray, ranks: int, room: float, *, complete: bool = True) -> tuple[np.ndarray | None, bool]:
    """Pieces to ranks so that none holds more than its room.

    In turn: largest first on the emptiest rank; largest first on the fullest rank where it fits; exchanges that lower
    what is too much; all placements, up to `NODES` of them.

    Args:
        num_bytes_P: of each piece.
        room: bytes on each rank.
        complete: try all placements where nothing else has helped.
    Returns:
        The rank of each, int64 [P], or None; and, where None, whether it is proven that there is no packing.
    """
    order = np.argsort(-num_bytes_P, kind="stable")
    even = _in_order(num_bytes_P, order, ranks, room, fullest=False)
    if _excess(num_bytes_P, even, ranks, room) == 0:
        return even, False
    tight = _in_order(num_bytes_P, order, ranks, room, fullest=True)
    if _excess(num_bytes_P, tight, ranks, room) == 0:
        return tight, False
    for start in (even, tight):
        found = exchanged(num_bytes_P, start, ranks, room)
        if found is not None:
            return found, False
    return _all_placements(num_bytes_P, order, ranks, room) if complete else (None, False)


def _in_order(num_bytes_P: np.ndarray, order: np.ndarray, ranks: int, room: float, *, fullest: bool) -> np.ndarray:
    """One after the other; on the emptiest rank where it fits on none."""
    held = np.zeros(ranks)
    chosen = np.zeros(len(num_bytes_P), np.int64)
    for piece in order.tolist():
        after = held + num_bytes_P[piece]
        fits = after <= room
        rank = int(np.argmax(np.where(fits, after, -1.0))) if fullest and fits.any() else int(np.argmin(held))
        chosen[piece] = rank
        held[rank] = after[rank]
    return chosen


def _excess(num_bytes_P: np.ndarray, ranks_P: np.ndarray, ranks: int, room: float) -> float:
    held = np.bincount(ranks_P, weights=num_bytes_P, minlength=ranks)
    return float(np.maximum(held - room, 0).sum())


def exchanged(num_bytes_P: np.ndarray, ranks_P: np.ndarray, ranks: int, room: float) -> np.ndarray | None:
    """Moves and swaps off the fullest rank that lower the bytes that are too much; a random swap where none does."""
    rng = np.random.default_rng(0)
    chosen = ranks_P.copy()
    for _ in range(ROUNDS):
        held = np.bincount(chosen, weights=num_bytes_P, minlength=ranks)
        too_much = np.maximum(held - room, 0)
        if not too_much.any():
            return chosen
        rank = int(np.argmax(held))
        own, others = np.flatnonzero(chosen == rank), np.flatnonzero(chosen != rank)
        # what goes [own, ranks then others]: a move to a rank gives nothing back, a swap gives back the other piece
        to = np.concatenate([np.arange(ranks), chosen[others]])
        back = np.concatenate([np.zeros(ranks), num_bytes_P[others]])
        goes = num_bytes_P[own][:, None] - back[None, :]
        change = np.maximum(held[rank] - goes - room, 0) - too_much[rank]
        change = change + np.maximum(held[to][None, :] + goes - room, 0) - too_much[to][None, :]
        change[:, :ranks][:, rank] = np.inf
        piece, other = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[piece, other] >= 0:
            if not len(others):
                return None
            piece, other = rng.integers(len(own)), ranks + rng.integers(len(others))
        chosen[own[piece]] = to[other]
        if other >= ranks:
            chosen[others[other - ranks]] = rank
    return None


def _all_placements(
    num_bytes_P: np.ndarray, order: np.ndarray, ranks: int, room: float
) -> tuple[np.ndarray | None, bool]:
    """Depth first, largest piece first; ranks that hold the same are tried once."""
    sizes = num_bytes_P[order].tolist()
    spare = ranks * room - sum(sizes)
    if spare < 0:
        return None, True
    held, chosen = [0] * ranks, [-1] * len(sizes)
    nodes, depth = 0, 0
    tried: list[set[int]] = [set()]
    while 0 <= depth < len(sizes):
        if nodes >= NODES:
            return None, False
        nodes += 1
        if chosen[depth] >= 0:
            held[chosen[depth]] -= sizes[depth]
            chosen[depth] = -1
        options = [
            (held[rank], rank)
            for rank in range(ranks)
            if held[rank] not in tried[depth] and held[rank] + sizes[depth] <= room
        ]
        if not options:
            tried.pop()
            depth -= 1
            continue
        load, rank = max(options)
        tried[depth].add(load)
        chosen[depth] = rank
        held[rank] += sizes[depth]
        depth += 1
        tried.append(set())
    if depth < 0:
        return None, True
    found = np.zeros(len(sizes), np.int64)
    found[order] = chosen
    return found, False
