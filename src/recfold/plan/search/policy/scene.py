"""Boards as the tensors that policies see.

Everything is relative to an even share, so that a policy knows neither how many tables and ranks there are nor the
machine.
Legend: E episodes, P pieces of each in the order in which they are placed, N ranks, K terms of the cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recfold.plan.piece import NUM_BINS, features_of
from recfold.plan.search.board import Board

NUM_FEATURES = 4 + NUM_BINS + 2
"""The 21 of every piece, the first four as logarithms; what it costs alone; its bytes."""

NUM_STATES = 3
"""Of a rank: what it costs, how much more that is than the mean, how full it is."""


@dataclass(frozen=True)
class Scene:
    """Args:
    order_EP: numbers of the boards' pieces, dearest first.
    features_EPF: of the pieces, float32.
    rows_EPK, num_bytes_EP, shared_EK, room_E: as of boards.
    share_ms_E: what the pieces cost alone, over the ranks.
    full_E: bytes at which a rank is full: its room, or all bytes where there is no bound.
    """

    board: Board
    order_EP: np.ndarray
    features_EPF: Tensor
    rows_EPK: np.ndarray
    num_bytes_EP: np.ndarray
    shared_EK: np.ndarray
    room_E: np.ndarray
    share_ms_E: np.ndarray
    full_E: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(E, P, N)"""
        episodes, pieces = self.order_EP.shape
        return episodes, pieces, self.board.ranks

    def states(self, ms_EN: np.ndarray, held_EN: np.ndarray) -> Tensor:
        """What a policy sees of ranks besides their tables, float32 [E, N, 3]."""
        share = self.share_ms_E[:, None]
        relative = (ms_EN - ms_EN.mean(1, keepdims=True)) / share
        return torch.from_numpy(np.stack([ms_EN / share, relative, held_EN / self.full_E[:, None]], -1)).float()


def scene_of(boards: Sequence[Board], episodes: int) -> Scene:
    """So many episodes of each board; boards have equally many pieces, ranks, and one cost."""
    first = boards[0]
    orders = np.stack([board.dearest_first for board in boards])
    own = zip(boards, orders, strict=True)
    features, rows, num_bytes = zip(*((_features(b)[o], b.rows_PK[o], b.num_bytes_P[o]) for b, o in own), strict=True)
    total = np.array([board.num_bytes_P.sum() for board in boards], np.float64)
    room = np.array([board.room for board in boards])

    def each(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        return np.repeat(np.stack(list(values)), episodes, axis=0)

    return Scene(
        first,
        each(orders),
        torch.from_numpy(each(features)).float(),
        each(rows),
        each(num_bytes),
        each([board.shared_K for board in boards]),
        np.repeat(room, episodes),
        np.repeat(np.array([board.single_ms_P.sum() for board in boards]) / first.ranks, episodes),
        np.repeat(np.maximum(np.where(np.isfinite(room), room, total), 1), episodes),
    )


def _features(board: Board) -> np.ndarray:
    """float64 [P, NUM_FEATURES]"""
    known = features_of(board.pieces)
    logs = np.log2(1 + known[:, :4] * np.array([1, 1, 1, 1e3])) / 8
    share_ms, share_bytes = board.single_ms_P.mean(), max(board.num_bytes_P.mean(), 1)
    relative = np.stack([board.single_ms_P / share_ms, board.num_bytes_P / share_bytes], 1)
    return np.concatenate([logs, known[:, 4:], np.log2(1 + relative)], 1)
