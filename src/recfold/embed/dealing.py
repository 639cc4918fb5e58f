"""What of a step over ranks is arithmetic on one of them: lists to pieces, rows to outputs, gradients to pieces."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from recfold.embed.bags import Bags
from recfold.embed.exchange import Peers, Request
from recfold.embed.field_sums import as_weighted
from recfold.embed.layout import Layout
from recfold.embed.local_shards import join_parts
from recfold.embed.lookup import Lookup
from recfold.embed.ops import lengths_U1
from recfold.embed.partial_sums import PartialSums
from recfold.embed.pieces import Piece
from recfold.embed.replicas import of_sums
from recfold.embed.route import Part, cut_bags
from recfold.optim import Joined
from recfold.spec import Read


class Dealer:
    """Deals lists, rows and gradients to the pieces and outputs that they belong to.

    Args:
        layout: tables, reads and pieces over the ranks.
        partial: what is added up where the rows are.
        peers: this rank among the others.

    Attributes:
        outputs: names of what a forward gives, in its order.
        pieces: that this rank holds.
    """

    def __init__(self, layout: Layout, partial: PartialSums, peers: Peers) -> None:
        self.layout, self.partial, self.peers = layout, partial, peers
        unsummed = tuple(read.feature for read in layout.read_of.values() if read.feature not in partial)
        self.outputs = (*unsummed, *partial.outputs)
        self.pieces = layout.slots.pieces_on(peers.rank)

    def bags_at_home(self, bags: Mapping[str, Bags]) -> Mapping[str, Bags]:
        """Bags of replicated tables: an id of a mean that counts by itself has its share as a weight."""
        counted = [
            read
            for read in self.layout.read_of.values()
            if read.mode == "mean" and self.partial.counts_ids(read.feature)
        ]
        types = {read.feature: self.layout.tables[read.table].out_dtype for read in counted}
        return {**bags, **{name: as_weighted(bags[name], "mean", dtype) for name, dtype in types.items()}}

    def cut(self, bags: Mapping[str, Bags]) -> dict[tuple[Piece, str], Part]:
        """(piece, feature) -> what of its lists is asked of the piece."""
        parts: dict[tuple[Piece, str], Part] = {}
        alike: dict[Hashable, Part] = {}
        for table, reads in self.layout.slots.reads.items():
            for read in reads:
                cut: dict[tuple[int, ...], list[Part]] = {}  # column blocks are mostly cut at the same rows
                for block, cuts in zip(self.layout.blocks[table], self.layout.cuts[table], strict=True):
                    keys = [self.layout.part_key(piece, read) for piece in block]
                    if cuts not in cut and any(key not in alike for key in keys):
                        dtype, is_summed = block[0].local.out_dtype, read.feature in self.partial
                        own = as_weighted(bags[read.feature], read.mode, dtype) if is_summed else bags[read.feature]
                        cut[cuts] = cut_bags(_typed(own, dtype), read.mode, cuts, keep_empty=is_summed)
                    for piece, key in zip(block, keys, strict=True):
                        if key not in alike:
                            alike[key] = cut[cuts][piece.place]
                        parts[piece, read.feature] = alike[key]
        return parts

    def join(self, asked: Sequence[Request]) -> list[Joined]:
        """What each own piece looks up for all ranks, in their order."""
        joined, first = [], 0
        for piece in self.pieces:
            reads = self.layout.slots.reads[piece.table.name]
            parts = [
                self.partial.as_looked_up(part, read.feature)
                for request in asked
                for read, part in zip(reads, request.parts[first : first + len(reads)], strict=True)
            ]
            joined.append(join_parts(parts, piece.local.out_dtype))
            first += len(reads)
        return joined

    def answered(self, asked: Sequence[Request]) -> list[list[int]]:
        """[rank][own piece] rows that are looked up for it."""
        return [self.layout.rows_by_piece(request, self.peers.rank, self.partial) for request in asked]

    def by_rank(self, sums: Sequence[Tensor], answered: Sequence[Sequence[int]]) -> list[list[Tensor]]:
        """Rows of own pieces, cut into those of each rank.

        Args:
            answered: [rank][piece] of these pieces.
        """
        cut = [own.detach().split(counts) for own, counts in zip(sums, zip(*answered, strict=True), strict=True)]
        return [[own[rank] for own in cut] for rank in range(len(answered))]

    def assemble(self, lookup: Lookup, found: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        """Outputs from the rows of every piece: row shards are added in the order of their rows."""
        outputs: dict[str, Tensor] = {}
        by_piece = {
            piece: rows
            for own, answer in zip(self.layout.pieces_on, found, strict=True)
            for piece, rows in zip(own, answer, strict=False)
        }
        for table, blocks in self.layout.blocks.items():
            reads = [read for read in self.layout.slots.reads[table] if read.feature not in self.partial]
            for block in blocks if reads else ():
                for piece in block:
                    parts = [lookup.parts[piece, read.feature] for read in reads]
                    rows = by_piece[piece].split([part.num_bags for part in parts])
                    for read, part, own in zip(reads, parts, rows, strict=True):
                        _add_(outputs, read, lookup.bags[read.feature], piece, part, own)
            for read in reads if blocks else ():
                if read.mode == "mean":
                    rows_UD = outputs[read.feature]
                    outputs[read.feature] = rows_UD / lengths_U1(lookup.bags[read.feature], rows_UD.dtype)
        return outputs

    def spread(self, lookup: Lookup, received: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Gradients of the rows of each own piece from each rank."""
        answered = self.by_rank(lookup.sums, lookup.answered)
        return [
            self.partial.spread(rows, request, own)
            for rows, request, own in zip(answered, lookup.asked, received, strict=True)
        ]

    def filled(self, lookup: Lookup, grads: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Gradient of each output; zeros where the loss does not use it."""
        filled = {}
        for name, grad in zip(self.outputs, grads, strict=True):
            if grad is None:
                feature, field_sum = self.partial.of_output(name)
                read = self.layout.read_of[feature]
                table = self.layout.tables[read.table]
                rows = lookup.bags[feature].num_bags(read.mode)
                width = table.dim if field_sum is None else field_sum.width(name, table.dim)
                grad = torch.zeros(rows, width, dtype=table.out_dtype, device=self.peers.device)
            filled[name] = grad
        return filled

    def grads_of_sums(self, lookup: Lookup, of_outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of the sums of rows of each feature that does not leave its rank added up with others."""
        by_feature = {}
        for read in self.layout.read_of.values():
            if read.feature not in self.partial:
                grad = of_outputs[read.feature]
            elif read.feature in lookup.home:
                grad = self.partial.grad_of_home(read.feature, lookup.home[read.feature], of_outputs)
                if self.partial.counts_ids(read.feature):
                    by_feature[read.feature] = grad
                    continue
            else:
                continue
            by_feature[read.feature] = of_sums(read, lookup.bags[read.feature], grad)
        return by_feature

    def grads_to(self, rank: int, lookup: Lookup, by_feature: Mapping[str, Tensor]) -> list[Tensor]:
        """Gradients of the rows of each piece of a rank."""
        outgoing = []
        for piece in self.layout.pieces_on[rank]:
            parts = []
            for read in self.layout.slots.reads[piece.table.name]:
                if read.feature in self.partial:
                    continue
                grad = by_feature[read.feature]
                index = lookup.parts[piece, read.feature].index
                grad = grad if piece.is_whole else grad[:, slice(*piece.shard.columns)]
                parts.append(grad if index is None else grad.index_select(0, index))
            if not parts:
                parts.append(torch.empty(0, piece.local.dim, dtype=piece.local.out_dtype, device=self.peers.device))
            outgoing.append(torch.cat(parts) if len(parts) > 1 else parts[0])
        return outgoing


def _typed(bags: Bags, dtype: torch.dtype) -> Bags:
    """Bags whose weights are of the type of the rows: they travel as they are."""
    if bags.weights is None or bags.weights.dtype == dtype:
        return bags
    return Bags(bags.values, bags.offsets, bags.weights.to(dtype))


def _add_(outputs: dict[str, Tensor], read: Read, bags: Bags, piece: Piece, part: Part, rows: Tensor) -> None:
    """Put a piece's rows where they belong in the output of a read."""
    if part.index is None and piece.is_whole:
        outputs[read.feature] = rows
        return
    if read.feature not in outputs:
        outputs[read.feature] = rows.new_zeros(bags.num_bags(read.mode), piece.table.dim)
    columns = outputs[read.feature][:, slice(*piece.shard.columns)]
    if part.index is None:
        columns.copy_(rows)
    else:
        columns.index_add_(0, part.index, rows)
