"""Milliseconds from the bandwidth of the memory that a table lies in: for devices that nobody has measured.

The lookup reads a row for every id; the update reads and writes every touched row. As a cost of a sum, all rows of a
rank are taken to be used alike, so that each tier serves as large a share of the bytes as it holds; a simulation puts
the busiest pieces into the fastest tier.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.piece import Piece


def moved_bytes(pieces: Sequence[Piece]) -> np.ndarray:
    """Bytes that the lookup and the update of each piece move, float64 [P, 2]."""
    found = []
    for piece in pieces:
        row_bytes = piece.table.row_bytes * piece.dim / piece.table.dim
        # every rank updates what all ranks have touched
        found.append((piece.lookups * row_bytes, 2 * piece.touched_rows * piece.copies * row_bytes))
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
        """[P, 2]: bytes moved, bytes held."""
        return np.column_stack([moved_bytes(pieces).sum(1), [float(piece.num_bytes) for piece in pieces]])

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M]; what no tier has room for is as slow as the last."""
        held = np.maximum(sums[:, 1], 1.0)
        below, per_byte = np.zeros(len(sums)), np.zeros(len(sums))
        for number, (size, speed) in enumerate(zip(self.tier_bytes, self.bytes_per_s, strict=True)):
            last = number == len(self.tier_bytes) - 1
            reached = held if last else np.minimum(held, below + size)
            per_byte += (reached - below) / held / speed
            below = reached
        return sums[:, 0] * per_byte * 1e3
