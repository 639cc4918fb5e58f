"""What a search is asked for, and what it gives: pieces and the rank of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recfold.plan.piece import Piece, TableLoad
from recfold.spec import InputError, Placement, Plan, Topology
from recfold.spec import replicated as replicated_placement

Split = Literal["columns", "rows", "replicate"]


@dataclass(frozen=True)
class Task:
    """Tables to be placed.

    Args:
        tables: of different names.
        topology: ranks.
        memory_bytes: that pieces may take on a rank; None for no bound.
        splits: what may be done to a table besides placing it whole: cut at columns, cut at rows, given to every rank.
    """

    tables: tuple[TableLoad, ...]
    topology: Topology
    memory_bytes: int | None = None
    splits: frozenset[Split] = field(default_factory=frozenset)

    @property
    def ranks(self) -> int:
        return self.topology.ranks


@dataclass(frozen=True)
class Assignment:
    """Pieces that tile every table of a task that is not replicated, and where each lies.

    Args:
        pieces: of any tables, each cell of a table in one of them.
        ranks: int64 [P], the rank of each.
        replicated: names of tables that every rank holds.
    """

    pieces: tuple[Piece, ...]
    ranks: np.ndarray
    replicated: tuple[str, ...] = ()

    def rank_bytes(self, task: Task) -> np.ndarray:
        """Bytes on each rank, int64 [N]."""
        own = np.array([piece.num_bytes for piece in self.pieces], dtype=np.int64)
        held = np.bincount(self.ranks, weights=own, minlength=task.ranks).astype(np.int64)
        return held + sum(table.num_bytes for table in task.tables if table.name in self.replicated)

    def by_rank(self, tables: Sequence[TableLoad], ranks: int) -> list[list[Piece]]:
        """What each rank holds: its copy of each replicated table, then its pieces.

        Args:
            tables: loads of a step of all ranks.
        """
        copies = [table.replica(ranks) for table in tables if table.name in self.replicated]
        held: list[list[Piece]] = [list(copies) for _ in range(ranks)]
        for piece, rank in zip(self.pieces, self.ranks.tolist(), strict=True):
            held[rank].append(piece)
        return held

    def plan(self, task: Task) -> Plan:
        """It as a plan.

        Raises:
            InputError: pieces that do not tile their tables.
        """
        by_table: dict[str, list[tuple[Piece, int]]] = {}
        for piece, rank in zip(self.pieces, self.ranks.tolist(), strict=True):
            by_table.setdefault(piece.table.name, []).append((piece, rank))
        placed: Mapping[str, Placement] = {
            table.name: replicated_placement(table.rows, table.dim)
            if table.name in self.replicated
            else Placement.parse(
                {
                    "rows": table.rows,
                    "dim": table.dim,
                    "shards": [piece.on(rank).model_dump() for piece, rank in by_table.get(table.name, [])],
                },
                f"table {table.name!r}",
            )
            for table in task.tables
        }
        extra = by_table.keys() - placed.keys()
        if extra:
            raise InputError(f"pieces of unknown table {min(extra)!r} are placed")
        return Plan(topology=task.topology, tables=dict(placed))
