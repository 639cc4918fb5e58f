"""Pieces on ranks, with what each rank costs kept up to date while pieces come and go."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.piece import Piece, TableLoad
from recfold.plan.search.board import Board
from recfold.plan.task import Assignment, Task

Change = tuple[Sequence[int], Sequence[tuple[Piece, int]]]
"""Numbers of pieces that go, and pieces that come with their ranks."""


@dataclass
class Rated:
    """A cost that remembers the rows of pieces and counts the sets that it rates."""

    cost: Cost
    name: str = "rated"
    num_sets: int = 0
    known: dict[tuple[str, tuple[int, int], tuple[int, int], int], np.ndarray] = field(default_factory=dict)

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        keys = [(piece.table.name, piece.rows, piece.columns, piece.copies) for piece in pieces]
        missing = [number for number, key in enumerate(keys) if key not in self.known]
        if missing:
            found = self.cost.rows([pieces[number] for number in missing])
            self.known.update({keys[number]: row for number, row in zip(missing, found, strict=True)})
        return np.stack([self.known[key] for key in keys])

    def ms(self, sums_MK: np.ndarray) -> np.ndarray:
        self.num_sets += len(sums_MK)
        return self.cost.ms(sums_MK)


@dataclass
class Layout:
    """Args:
    rows_PK, num_bytes_P, ranks_P: of the pieces.
    sums_NK, held_N, ms_N: of the ranks, replicated tables included.
    room: bytes of a rank, replicated tables included; inf where there is no bound.
    """

    task: Task
    rated: Rated
    pieces: list[Piece]
    rows_PK: np.ndarray
    num_bytes_P: np.ndarray
    ranks_P: np.ndarray
    sums_NK: np.ndarray
    held_N: np.ndarray
    ms_N: np.ndarray
    room: float
    replicated: tuple[str, ...] = ()

    @classmethod
    def of(cls, board: Board, ranks_P: np.ndarray, rated: Rated) -> "Layout":
        copies = sum(table.num_bytes for table in board.task.tables if table.name in board.replicated)
        sums = board.sums(ranks_P)
        return cls(
            board.task,
            rated,
            list(board.pieces),
            board.rows_PK,
            board.num_bytes_P,
            ranks_P,
            sums,
            board.held(ranks_P) + copies,
            rated.ms(sums),
            board.room + copies,
            board.replicated,
        )

    @property
    def slowest(self) -> int:
        return int(np.argmax(self.ms_N))

    @property
    def slowest_ms(self) -> float:
        return float(self.ms_N.max())

    def copy(self) -> "Layout":
        return Layout(
            self.task,
            self.rated,
            list(self.pieces),
            self.rows_PK,
            self.num_bytes_P,
            self.ranks_P.copy(),
            self.sums_NK.copy(),
            self.held_N.copy(),
            self.ms_N.copy(),
            self.room,
            self.replicated,
        )

    def on(self, rank: int) -> np.ndarray:
        """Numbers of the pieces on a rank."""
        return np.flatnonzero(self.ranks_P == rank)

    def change_(self, change: Change) -> None:
        """Take pieces away and lay others down."""
        gone, come = change
        new = [piece for piece, _ in come]
        new_ranks = np.array([rank for _, rank in come], np.int64)
        kept = np.ones(len(self.pieces), bool)
        kept[list(gone)] = False
        touched = np.unique(np.concatenate([self.ranks_P[~kept], new_ranks]))
        rows = self.rated.rows(new) if new else self.rows_PK[:0]
        own_bytes = np.array([piece.num_bytes for piece in new], np.int64)
        np.subtract.at(self.sums_NK, self.ranks_P[~kept], self.rows_PK[~kept])
        np.subtract.at(self.held_N, self.ranks_P[~kept], self.num_bytes_P[~kept])
        np.add.at(self.sums_NK, new_ranks, rows)
        np.add.at(self.held_N, new_ranks, own_bytes)
        self.pieces = [piece for piece, keep in zip(self.pieces, kept.tolist(), strict=True) if keep] + new
        self.rows_PK = np.concatenate([self.rows_PK[kept], rows])
        self.num_bytes_P = np.concatenate([self.num_bytes_P[kept], own_bytes])
        self.ranks_P = np.concatenate([self.ranks_P[kept], new_ranks])
        self.ms_N[touched] = self.rated.ms(self.sums_NK[touched])

    def replicate_(self, table: TableLoad) -> None:
        """Give a table to every rank, and take its pieces away."""
        self._copies_(table, 1)
        self.replicated = (*self.replicated, table.name)
        self.change_(([n for n, piece in enumerate(self.pieces) if piece.table.name == table.name], []))
        self.ms_N = self.rated.ms(self.sums_NK)

    def gather_(self, table: TableLoad, rank: int) -> None:
        """Take a replicated table from every rank but one."""
        self._copies_(table, -1)
        self.replicated = tuple(name for name in self.replicated if name != table.name)
        self.change_(([], [(table.whole(), rank)]))
        self.ms_N = self.rated.ms(self.sums_NK)

    def _copies_(self, table: TableLoad, sign: int) -> None:
        self.sums_NK += sign * self.rated.rows([table.replica(self.task.ranks)])[0]
        self.held_N += sign * table.num_bytes

    def assignment(self) -> Assignment:
        return Assignment(tuple(self.pieces), self.ranks_P.astype(np.int64), self.replicated)
