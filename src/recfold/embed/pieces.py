"""The shards of a plan as tables of their own, and which of them a rank holds."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recfold.embed.resolved_table import ResolvedTable
from recfold.spec import Placement, Plan, Read, Shard


@dataclass(frozen=True, eq=False)
class Piece:
    """One shard of a table that is not replicated.

    Args:
        table: of which it is a rectangle.
        shard: the rectangle and its rank.
        local: the rectangle as a table that a kernel builds; its rows and columns start at 0.
        block: number of its column block in the table.
        place: number of the shard in its column block.
    """

    table: ResolvedTable
    shard: Shard
    local: ResolvedTable
    block: int
    place: int

    @property
    def is_whole(self) -> bool:
        """All columns of its rows."""
        return self.shard.dim == self.table.dim


def pieces_of(plan: Plan, tables: Mapping[str, ResolvedTable]) -> tuple[Piece, ...]:
    """Every shard in the order of tables, column blocks and rows: the same on all ranks."""
    return tuple(
        Piece(table, shard, local_table(table, shard), block, place)
        for name, table in tables.items()
        for block, shards in enumerate(plan.tables[name].blocks())
        for place, shard in enumerate(shards)
    )


def local_table(table: ResolvedTable, shard: Shard) -> ResolvedTable:
    """A rectangle of a table as a table."""
    return dataclasses.replace(table, name=rectangle_name(table.name, shard), rows=shard.num_rows, dim=shard.dim)


def rectangle_name(table: str, shard: Shard) -> str:
    """
    >>> rectangle_name("item", Shard(rank=3, rows=(0, 10), columns=(4, 8)))
    'item[0:10,4:8]'
    """
    (first_row, stop_row), (first_column, stop_column) = shard.rows, shard.columns
    return f"{table}[{first_row}:{stop_row},{first_column}:{stop_column}]"


def row_cuts(placement: Placement) -> tuple[tuple[int, ...], ...]:
    """Rows at which each column block is cut, 0 and the table's rows included."""
    return tuple((0, *(shard.rows[1] for shard in block)) for block in placement.blocks())


@dataclass(frozen=True)
class Slots:
    """What every rank looks up for every other, in the order in which it travels.

    Args:
        pieces: of all ranks.
        reads: table -> its reads.
        replicated: tables that every rank holds.
        ranks: number of ranks.
    """

    pieces: tuple[Piece, ...]
    reads: Mapping[str, tuple[Read, ...]]
    replicated: tuple[ResolvedTable, ...]
    ranks: int

    def pieces_on(self, rank: int) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.pieces if piece.shard.rank == rank)

    def on(self, rank: int) -> tuple[tuple[Piece, Read], ...]:
        """Pieces of a rank with each of their reads."""
        return tuple((piece, read) for piece in self.pieces_on(rank) for read in self.reads[piece.table.name])

    def blocks(self, table: str) -> tuple[tuple[Piece, ...], ...]:
        """Pieces of a table by column block."""
        own: Sequence[Piece] = [piece for piece in self.pieces if piece.table.name == table]
        return tuple(tuple(block) for _, block in itertools.groupby(own, key=lambda piece: piece.block))
