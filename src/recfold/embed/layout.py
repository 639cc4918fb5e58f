"""What of a plan every step looks at, worked out once."""

from collections.abc import Mapping, Sequence

from recfold.embed.exchange import Request
from recfold.embed.pieces import Slots, pieces_of, row_cuts
from recfold.embed.resolved_table import ResolvedTable
from recfold.spec import Plan, Read


class Layout:
    """Tables, their reads and their pieces over the ranks.

    Args:
        plan: of these tables.
        tables: table -> it, whole.
        reads: of all tables.
        rank: this one.

    Attributes:
        slots: what every rank looks up for every other.
        tables: table -> it, whole.
        read_of: feature -> its read.
        cuts: table -> rows at which each column block is cut.
        blocks: table -> its pieces by column block.
        on: [rank] its pieces with each of their reads.
        pieces_on: [rank] its pieces.
        modes_here: (piece, mode) of each part of a request to this rank.
    """

    def __init__(self, plan: Plan, tables: Mapping[str, ResolvedTable], reads: Sequence[Read], rank: int) -> None:
        reads_of = {name: tuple(read for read in reads if read.table == name) for name in tables}
        replicated = tuple(own for name, own in tables.items() if plan.tables[name].replicated)
        self.slots = Slots(pieces_of(plan, tables), reads_of, replicated, plan.ranks)
        self.tables, self.read_of = dict(tables), {read.feature: read for read in reads}
        self.cuts = {name: row_cuts(plan.tables[name]) for name in tables}
        self.blocks = {name: self.slots.blocks(name) for name in tables}
        self.on = [self.slots.on(other) for other in range(plan.ranks)]
        self.pieces_on = [self.slots.pieces_on(other) for other in range(plan.ranks)]
        self.modes_here = [(piece, read.mode) for piece, read in self.on[rank]]

    def bags_by_piece(self, request: Request, rank: int) -> list[int]:
        """Bags of a request to a rank that each of its pieces looks up."""
        counts = iter(part.num_bags for part in request.parts)
        return [sum(next(counts) for _ in self.slots.reads[piece.table.name]) for piece in self.pieces_on[rank]]
