"""Piece after piece on the rank that is cheapest with it: the loop that most searches share, for many candidates at
once.

Legend: B candidates, P pieces of each, N ranks, K numbers that add up over a rank's pieces (see `recfold.plan.cost`).
"""

from dataclasses import dataclass

import numpy as np

from recfold.plan.cost import Cost


@dataclass(frozen=True)
class Placed:
    """Args:
    ranks_BP: of each piece.
    fits_B: whether all of a candidate found room; the others are not to be used.
    sums_BNK: of the pieces on each rank.
    ms_BN: what each rank costs.
    """

    ranks_BP: np.ndarray
    fits_B: np.ndarray
    sums_BNK: np.ndarray
    ms_BN: np.ndarray


def place_in_order(
    cost: Cost,
    rows_BPK: np.ndarray,
    num_bytes_BP: np.ndarray,
    room_N: np.ndarray,
    sums_NK: np.ndarray,
    *,
    widths_BP: np.ndarray | None = None,
    caps_B: np.ndarray | None = None,
) -> Placed:
    """Each piece, in the order given, on the rank that costs least with it among those with room for it; where it fits
    on none, on that with the most room left.

    Args:
        room_N: bytes that ranks have left; inf where there is no bound.
        sums_NK: what lies on the ranks already.
        widths_BP, caps_B: columns of each piece, and how many of them a rank may hold.
    """
    num_candidates, num_pieces, num_terms = rows_BPK.shape
    num_ranks = len(room_N)
    sums = np.repeat(sums_NK[None], num_candidates, axis=0)
    left = np.repeat(room_N[None].astype(np.float64), num_candidates, axis=0)
    columns_left = None if caps_B is None else np.repeat(caps_B[:, None].astype(np.float64), num_ranks, axis=1)
    chosen = np.zeros((num_candidates, num_pieces), np.int64)
    fits = np.ones(num_candidates, bool)
    every = np.arange(num_candidates)
    ms = cost.ms(sums.reshape(-1, num_terms)).reshape(num_candidates, num_ranks)
    for number in range(num_pieces):
        after = sums + rows_BPK[:, number, None]
        after_ms = cost.ms(after.reshape(-1, num_terms)).reshape(num_candidates, num_ranks)
        open_to = left >= num_bytes_BP[:, number, None]
        if columns_left is not None and widths_BP is not None:
            open_to &= columns_left >= widths_BP[:, number, None]
        fits &= open_to.any(1)
        open_to |= ~open_to.any(1, keepdims=True) & (left == left.max(1, keepdims=True))
        rank = np.argmin(np.where(open_to, after_ms, np.inf), axis=1)
        chosen[:, number] = rank
        sums[every, rank] = after[every, rank]
        ms[every, rank] = after_ms[every, rank]
        left[every, rank] -= num_bytes_BP[:, number]
        if columns_left is not None and widths_BP is not None:
            columns_left[every, rank] -= widths_BP[:, number]
    return Placed(chosen, fits, sums, ms)
