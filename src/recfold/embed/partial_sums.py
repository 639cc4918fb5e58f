"""The part of a sharded step that adds up features where their rows are: see `field_sums.py`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recfold.embed.exchange import Request, RowType
from recfold.embed.field_sums import add_fields, grad_of_field, merged_on
from recfold.embed.pieces import Piece, Slots
from recfold.spec import FieldSum


class PartialSums:
    """Which features are added up where; false where there are none.

    What a rank answers is the rows of each of its pieces without those features, then the sums that it has made.

    Args:
        slots: what every rank looks up.
        field_sums: checked.
        rank: this one.
    """

    def __init__(self, slots: Slots, field_sums: Sequence[FieldSum], rank: int) -> None:
        self._slots, self._rank, self._field_sums = slots, rank, tuple(field_sums)
        self._sum_of = {feature: own for own in field_sums for feature in own.features}
        self._merged_on = [merged_on(other, field_sums, slots) for other in range(slots.ranks)]
        self._on = [slots.on(other) for other in range(slots.ranks)]
        self._pieces_on = [slots.pieces_on(other) for other in range(slots.ranks)]
        self.outputs = tuple(name for own in field_sums for name in own.outputs)

    def __bool__(self) -> bool:
        return bool(self._field_sums)

    def __contains__(self, feature: str) -> bool:
        return feature in self._sum_of

    def first_feature(self, output: str) -> str:
        """A feature whose rows are shaped like an output; its own where it is no sum."""
        return next((own.features[0] for own in self._field_sums if output in own.outputs), output)

    def row_types(self, rank: int) -> list[RowType]:
        """Dim and dtype of what a rank answers."""
        sums = [own.members[0][0] for own in self._merged_on[rank] for _ in own.field_sum.outputs]
        return [(piece.local.dim, piece.local.out_dtype) for piece in (*self._pieces_on[rank], *sums)]

    def rows_wanted(self, request: Request, rank: int) -> list[int]:
        """Rows of each of them that a request to a rank gets."""
        pieces: dict[Piece, int] = dict.fromkeys(self._pieces_on[rank], 0)
        sums: dict[str, int] = {}
        for (piece, read), part in zip(self._on[rank], request.parts, strict=True):
            if read.feature in self:
                sums[self._sum_of[read.feature].name] = part.num_bags
            else:
                pieces[piece] += part.num_bags
        merged = [sums[own.field_sum.name] for own in self._merged_on[rank] for _ in own.field_sum.outputs]
        return [*pieces.values(), *merged]

    def merge(self, rows: Sequence[Tensor], request: Request) -> list[Tensor]:
        """This rank's answer from all rows of each of its pieces that were asked for."""
        by_read = self._by_read(rows, request)
        answer = []
        for piece, own in zip(self._pieces_on[self._rank], rows, strict=True):
            kept = [
                by_read[piece, read.feature] for read in self._slots.reads[piece.table.name] if read.feature not in self
            ]
            answer.append(torch.cat(kept) if kept else own[:0])
        return [*answer, *(total for own in self._merged_on[self._rank] for total in add_fields(own, by_read))]

    def spread(self, rows: Sequence[Tensor], request: Request, grads: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of all rows of each own piece from those of the answer: those of a sum go to each feature in it.

        Args:
            rows, request: of `merge`.
        """
        by_read, num_pieces = self._by_read(rows, request), len(rows)
        totals = iter(grads[num_pieces:])
        of_rows: dict[tuple[Piece, str], Tensor] = {}
        for merged in self._merged_on[self._rank]:
            own = [next(totals) for _ in merged.field_sum.outputs]
            for piece, read in merged.members:
                of_rows[piece, read.feature] = grad_of_field(by_read[piece, read.feature], own)
        found = []
        for piece, kept in zip(self._pieces_on[self._rank], grads[:num_pieces], strict=True):
            reads = self._slots.reads[piece.table.name]
            alone = [read.feature for read in reads if read.feature not in self]
            if alone:
                cut = kept.split([len(by_read[piece, feature]) for feature in alone])
                of_rows |= {(piece, feature): part for feature, part in zip(alone, cut, strict=True)}
            found.append(torch.cat([of_rows[piece, read.feature] for read in reads]))
        return found

    def add(self, home: Mapping[str, Tensor], found: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        """The sums from what each rank has answered, in the order of ranks, and from replicated tables.

        Args:
            home: feature -> rows of replicated tables.
            found: [rank] answers.
        """
        outputs: dict[str, Tensor] = {}
        for own in self._field_sums:
            for feature in own.features:
                if feature in home:
                    for name, rows in zip(own.outputs, (home[feature], home[feature].square()), strict=False):
                        outputs[name] = outputs[name] + rows if name in outputs else rows.clone()
        for rank, answer in enumerate(found):
            totals = iter(answer[len(self._pieces_on[rank]) :])
            for merged in self._merged_on[rank]:
                table = merged.members[0][0].table
                for name in merged.field_sum.outputs:
                    total = next(totals)
                    if name not in outputs:
                        outputs[name] = total.new_zeros(len(total), table.dim)
                    outputs[name][:, slice(*merged.columns)] += total
        return outputs

    def grad_of(self, feature: str, rows: Tensor, of_outputs: Mapping[str, Tensor]) -> Tensor:
        """Gradient of a feature's rows in a replicated table."""
        return grad_of_field(rows, [of_outputs[name] for name in self._sum_of[feature].outputs])

    def grads_to(self, rank: int, of_outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Gradients of the sums that a rank has made."""
        return [
            of_outputs[name][:, slice(*own.columns)] for own in self._merged_on[rank] for name in own.field_sum.outputs
        ]

    def _by_read(self, rows: Sequence[Tensor], request: Request) -> dict[tuple[Piece, str], Tensor]:
        """Rows of each own piece for one rank, cut into its reads."""
        parts = iter(request.parts)
        found: dict[tuple[Piece, str], Tensor] = {}
        for piece, own in zip(self._pieces_on[self._rank], rows, strict=True):
            reads = self._slots.reads[piece.table.name]
            cut = own.split([next(parts).num_bags for _ in reads])
            found |= {(piece, read.feature): part for read, part in zip(reads, cut, strict=True)}
        return found
