"""Milliseconds from the bandwidth of the memory that a table lies in: for devices that nobody has measured.

The fastest tier serves every id of the lookup, and the read and the write of every touched row in the update. Touched
rows that lie in a slower tier are fetched into it once a step, and written back.

As a cost of a sum, all rows of a rank are taken to be used alike, so that each tier has as large a share of the touched
rows as of the bytes; a simulation puts the busiest pieces into the fastest tier.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.piece import Piece


def moved_bytes(pieces: Sequence[Piece]) -> np.ndarray:
    """Bytes of the rows of all ids, and of the touched rows, of each piece, float64 [P, 2]."""
    found = []
    for piece in pieces:
        row_bytes = piece.table.row_bytes * piece.dim / piece.table.dim
        # every rank updates what all ranks have touched
        found.append((piece.lookups * row_bytes, piece.touched_rows * piece.copies * row_bytes))
    return np.array(found, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class TierCost:
    """By memory tiers.

    Args:
        tier_bytes: of a rank's tiers, fastest first.
        bytes_per_s: of each.
    """

    tier_bytes: tuple[float, ...]
    bytes_per_s: tuple[float, ...]
    name: str = "tiers"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """[P, 3]: bytes of all ids' rows, of touched rows, and of all rows."""
        return np.column_stack([moved_bytes(pieces), [float(piece.num_bytes) for piece in pieces]])

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M]; what no tier has room for is as slow as the last."""
        held = np.maximum(sums[:, 2], 1.0)
        reached = np.minimum(held, self.tier_bytes[0])
        fetched = np.zeros(len(sums))
        for number in range(1, len(self.tier_bytes)):
            is_last = number == len(self.tier_bytes) - 1
            further = held if is_last else np.minimum(held, reached + self.tier_bytes[number])
            fetched += (further - reached) / held / self.bytes_per_s[number]
            reached = further
        found: np.ndarray = 1e3 * ((sums[:, 0] + 2 * sums[:, 1]) / self.bytes_per_s[0] + 2 * sums[:, 1] * fetched)
        return found
