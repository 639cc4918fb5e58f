"""What the cost network sees of a piece: the 21 features of SYSTEMS section 4, and the number of distinct lists.

The published features belong to a batch of 65,536 lists. Here a rank's lists are distinct ones, whose number is that of
the group that they come from, so that a pooling factor alone does not say how much is looked up.
"""

from collections.abc import Sequence

import numpy as np

from recfold.plan.cost.samples import COLUMNS, piece_columns
from recfold.plan.piece import NUM_BINS, Piece

NAMES = ("dim", "rows", "pooling", "num_bytes", *(f"accesses_{number}" for number in range(NUM_BINS)), "lists")
"""Of the inputs of a piece."""


def inputs_of(columns_PC: np.ndarray) -> np.ndarray:
    """Inputs [P, 22] of pieces given as `piece_columns`: logarithms of quantities, shares as they are."""
    dim, rows, lists, lookups, num_bytes = (columns_PC[:, place] for place in range(len(COLUMNS)))
    pooling = lookups / np.maximum(lists, 1e-9)
    logs = [np.log(dim), np.log(rows), np.log(pooling + 0.1), np.log(num_bytes)]
    return np.column_stack([*logs, columns_PC[:, len(COLUMNS) :], np.log(lists + 1.0)])


def inputs_of_pieces(pieces: Sequence[Piece]) -> np.ndarray:
    """`inputs_of` of pieces."""
    return inputs_of(piece_columns(pieces))
