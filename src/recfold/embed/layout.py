"""What of a plan every step looks at, worked out once."""

import bisect
import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence

from torch import Tensor

from recfold.embed.exchange import Request
from recfold.embed.partial_sums import PartialSums
from recfold.embed.pieces import Piece, Slots, pieces_of, row_cuts
from recfold.embed.resolved_table import ResolvedTable
from recfold.spec import Plan, Read


class Layout:
    """Tables, their reads and their pieces over the ranks.

    Args:
        plan: of these tables.
        tables: table -> it, whole.
        reads: of all tables.
        rank: this one.
        same_ids: feature -> another one that always has the same bags: their ids travel once to a rank where both read
            the same rows.
        summed: features that are given as a part of a sum.
        waves: in how many messages a rank answers.

    Attributes:
        slots: what every rank looks up for every other.
        tables: table -> it, whole.
        read_of: feature -> its read.
        cuts: table -> rows at which each column block is cut.
        blocks: table -> its pieces by column block.
        on: [rank] its pieces with each of their reads.
        pieces_on: [rank] its pieces.
        waves_on: [rank][wave] numbers of those of its pieces whose rows travel together.
        shipped_on: [rank] which parts of a request to it travel; the others are like one of them.
        shipped_here: (piece, mode) of each part of a request to this rank that travels.
        num_touched: lists of touched rows that travel.
    """

    def __init__(
        self,
        plan: Plan,
        tables: Mapping[str, ResolvedTable],
        reads: Sequence[Read],
        rank: int,
        same_ids: Mapping[str, str],
        summed: Collection[str] = (),
        waves: int = 1,
    ) -> None:
        reads_of = {name: tuple(read for read in reads if read.table == name) for name in tables}
        replicated = tuple(own for name, own in tables.items() if plan.tables[name].replicated)
        self.slots = Slots(pieces_of(plan, tables), reads_of, replicated, plan.ranks)
        self.tables, self.read_of = dict(tables), {read.feature: read for read in reads}
        self.cuts = {name: row_cuts(plan.tables[name]) for name in tables}
        self.blocks = {name: self.slots.blocks(name) for name in tables}
        self.on = [self.slots.on(other) for other in range(plan.ranks)]
        self.pieces_on = [self.slots.pieces_on(other) for other in range(plan.ranks)]
        self.waves_on = [in_waves([piece.local.dim for piece in own], waves) for own in self.pieces_on]
        self.same_ids, self._summed = dict(same_ids), frozenset(summed)
        self._first_on = [_firsts([self.part_key(piece, read) for piece, read in own]) for own in self.on]
        self._first_touched = _firsts([(own.rows, *map(self._source, reads_of[own.name])) for own in replicated])
        self.shipped_on = [sorted(set(first)) for first in self._first_on]
        self.shipped_here = [(piece, read.mode) for piece, read in (self.on[rank][n] for n in self.shipped_on[rank])]
        self.num_touched = len(set(self._first_touched))

    def part_key(self, piece: Piece, read: Read) -> Hashable:
        """What makes two parts of a batch equal: lists, rows asked for, and how their weights and lengths travel."""
        is_summed, is_cut = read.feature in self._summed, piece.shard.num_rows < piece.table.rows
        weights = (read.mode == "mean" and is_summed, piece.local.out_dtype)
        return self._source(read), piece.table.rows, piece.shard.rows, read.mode, is_cut and is_summed, weights

    def shipped(self, request: Request, rank: int) -> Request:
        """What of a request to a rank travels."""
        touched = [request.touched[number] for number in sorted(set(self._first_touched))]
        return Request([request.parts[number] for number in self.shipped_on[rank]], touched)

    def whole(self, shipped: Request, rank: int) -> Request:
        """The request to a rank of which this has travelled."""
        parts = dict(zip(self.shipped_on[rank], shipped.parts, strict=True))
        touched: dict[int, Tensor] = dict(zip(sorted(set(self._first_touched)), shipped.touched, strict=True))
        return Request([parts[n] for n in self._first_on[rank]], [touched[n] for n in self._first_touched])

    def _source(self, read: Read) -> str:
        return self.same_ids.get(read.feature, read.feature)

    def rows_by_piece(self, request: Request, rank: int, partial: PartialSums) -> list[int]:
        """Rows that each piece of a rank looks up for a request to it."""
        slots = zip(self.on[rank], request.parts, strict=True)
        counts = (partial.as_looked_up(part, read.feature).num_bags for (_, read), part in slots)
        return [sum(next(counts) for _ in self.slots.reads[piece.table.name]) for piece in self.pieces_on[rank]]


def in_waves(dims: Sequence[int], waves: int) -> list[range]:
    """Runs of pieces with about as many columns each.

    >>> in_waves([64, 64, 64, 64, 128], 2)
    [range(0, 3), range(3, 5)]
    >>> in_waves([64], 2)
    [range(0, 0), range(0, 1)]
    """
    reached = [0, *itertools.accumulate(dims)]
    middles = [(first + stop) / 2 for first, stop in itertools.pairwise(reached)]
    cuts = [bisect.bisect_left(middles, number * reached[-1] / waves) for number in range(1, waves)]
    return [range(first, stop) for first, stop in itertools.pairwise([0, *cuts, len(dims)])]


def _firsts(keys: Sequence[Hashable]) -> list[int]:
    """For each key the number of the first one like it.

    >>> _firsts(["a", "b", "a"])
    [0, 1, 0]
    """
    first: dict[Hashable, int] = {}
    return [first.setdefault(key, number) for number, key in enumerate(keys)]
