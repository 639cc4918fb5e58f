"""The part of a sharded step that adds up features where their rows are: see `field_sums.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recfold.embed.exchange import Request, RowType
from recfold.embed.field_sums import Merged, Rows, grad_of_rows, merged_on, pooled, results_of
from recfold.embed.pieces import Piece, Slots
from recfold.embed.route import Part
from recfold.spec import FieldSum


@dataclass(frozen=True, eq=False)
class Matrix:
    """What multiplies the rows of a sum's features.

    Args:
        parameter: [H, width], live and the same on every rank.
        columns: feature -> its columns.
    """

    parameter: nn.Parameter
    columns: Mapping[str, tuple[int, int]]

    def of(self, feature: str, columns: tuple[int, int] | None = None) -> tuple[int, int]:
        """Columns of the matrix that multiply a feature's rows, or some columns of them."""
        first, stop = self.columns[feature]
        return (first, stop) if columns is None else (first + columns[0], first + columns[1])


class PartialSums:
    """Which features are added up where; false where there are none.

    What a rank answers is the rows of each of its pieces without those features, then the sums that it has made.

    Args:
        slots: what every rank looks up.
        field_sums: checked.
        rank: this one.

    Attributes:
        matrices: sum -> what multiplies its rows; filled once the model is there.
        matrix_grads: sum -> this rank's part of the gradient, of the backward that is under way.
    """

    def __init__(self, slots: Slots, field_sums: Sequence[FieldSum], rank: int) -> None:
        self._slots, self._rank, self._field_sums = slots, rank, tuple(field_sums)
        self._sum_of = {feature: own for own in field_sums for feature in own.features}
        self._merged_on = [merged_on(other, field_sums, slots) for other in range(slots.ranks)]
        self._on = [slots.on(other) for other in range(slots.ranks)]
        self._pieces_on = [slots.pieces_on(other) for other in range(slots.ranks)]
        self.outputs = tuple(name for own in field_sums for name in own.outputs)
        self.matrices: dict[str, Matrix] = {}
        self.matrix_grads: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return bool(self._field_sums)

    def __contains__(self, feature: str) -> bool:
        return feature in self._sum_of

    def counts_ids(self, feature: str) -> bool:
        """Whether a feature's rows are looked up id by id."""
        return feature in self._sum_of and self._sum_of[feature].squares == "ids"

    def as_looked_up(self, part: Part, feature: str) -> Part:
        """A part of a request as its shard looks it up."""
        return Part(part.ids, None, part.weights) if self.counts_ids(feature) else part

    def of_output(self, output: str) -> tuple[str, FieldSum | None]:
        """A feature that has as many lists as an output, and the sum that gives it; None for a feature's own rows."""
        return next(((own.features[0], own) for own in self._field_sums if output in own.outputs), (output, None))

    def row_types(self, rank: int) -> list[RowType]:
        """Dim and dtype of what a rank answers."""
        types = [(piece.local.dim, piece.local.out_dtype) for piece in self._pieces_on[rank]]
        for own in self._merged_on[rank]:
            local = own.members[0][0].local
            types += [(own.field_sum.width(name, local.dim), local.out_dtype) for name in own.field_sum.outputs]
        return types

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
            reads = self._slots.reads[piece.table.name]
            kept = [by_read[piece, read.feature].pooled_UD for read in reads if read.feature not in self]
            answer.append(torch.cat(kept) if kept else own[:0])
        for merged in self._merged_on[self._rank]:
            found = [
                results_of(by_read[piece, read.feature], merged.field_sum, self._matrix_of(read.feature, piece))
                for piece, read in merged.members
            ]
            answer += [torch.stack(own).sum(0) if len(own) > 1 else own[0] for own in zip(*found, strict=True)]
        return answer

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
                of_rows[piece, read.feature] = self._grad_of(read.feature, by_read[piece, read.feature], own, piece)
        found = []
        for piece, kept in zip(self._pieces_on[self._rank], grads[:num_pieces], strict=True):
            reads = self._slots.reads[piece.table.name]
            alone = [read.feature for read in reads if read.feature not in self]
            if alone:
                cut = kept.split([len(by_read[piece, feature].pooled_UD) for feature in alone])
                of_rows |= {(piece, feature): part for feature, part in zip(alone, cut, strict=True)}
            found.append(torch.cat([of_rows[piece, read.feature] for read in reads]))
        return found

    def add(self, home: Mapping[str, Rows], found: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
        """The sums from what each rank has answered, in the order of ranks, and from replicated tables.

        Args:
            home: feature -> rows of replicated tables.
            found: [rank] answers.
        """
        outputs: dict[str, Tensor] = {}
        for own in self._field_sums:
            for feature in own.features:
                if feature in home:
                    results = results_of(home[feature], own, self._matrix_of(feature))
                    for name, rows in zip(own.outputs, results, strict=True):
                        outputs[name] = outputs[name] + rows if name in outputs else rows.clone()
        for rank, answer in enumerate(found):
            totals = iter(answer[len(self._pieces_on[rank]) :])
            for merged in self._merged_on[rank]:
                for name in merged.field_sum.outputs:
                    total = next(totals)
                    if name not in outputs:
                        width = merged.field_sum.width(name, merged.members[0][0].table.dim)
                        outputs[name] = total.new_zeros(len(total), width)
                    outputs[name][:, _columns_of(merged, name)] += total
        return outputs

    def grad_of_home(self, feature: str, rows: Rows, of_outputs: Mapping[str, Tensor]) -> Tensor:
        """Gradient of a feature's rows in a replicated table."""
        return self._grad_of(feature, rows, [of_outputs[name] for name in self._sum_of[feature].outputs])

    def grads_to(self, rank: int, of_outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Gradients of the sums that a rank has made."""
        return [
            of_outputs[name][:, _columns_of(own, name)]
            for own in self._merged_on[rank]
            for name in own.field_sum.outputs
        ]

    def begin_backward(self) -> None:
        """Gradients of matrices are collected from here on."""
        self.matrix_grads = {name: torch.zeros_like(own.parameter) for name, own in self.matrices.items()}

    def _grad_of(self, feature: str, rows: Rows, grads: Sequence[Tensor], piece: Piece | None = None) -> Tensor:
        """Gradient of a feature's rows; that of its part of a matrix is added to `matrix_grads`."""
        own = self._sum_of[feature]
        if own.product:
            columns = self.matrices[own.name].of(feature, None if piece is None else piece.shard.columns)
            self.matrix_grads[own.name][:, slice(*columns)] += grads[-1].t() @ rows.pooled_UD
        return grad_of_rows(rows, own, grads, self._matrix_of(feature, piece))

    def _matrix_of(self, feature: str, piece: Piece | None = None) -> Tensor | None:
        """Columns [H, D] of the matrix that multiply rows of a feature, or of one of its pieces."""
        own = self._sum_of[feature]
        if not own.product:
            return None
        matrix = self.matrices[own.name]
        return matrix.parameter.detach()[:, slice(*matrix.of(feature, None if piece is None else piece.shard.columns))]

    def rows_of_home(self, feature: str, rows: Tensor, length_U: Tensor) -> Rows:
        """Rows of a feature of a replicated table."""
        return pooled(rows, length_U) if self.counts_ids(feature) else Rows(rows)

    def _by_read(self, rows: Sequence[Tensor], request: Request) -> dict[tuple[Piece, str], Rows]:
        """Rows of each own piece for one rank, cut into its reads."""
        parts = iter(request.parts)
        found: dict[tuple[Piece, str], Rows] = {}
        for piece, own in zip(self._pieces_on[self._rank], rows, strict=True):
            reads = self._slots.reads[piece.table.name]
            asked = [next(parts) for _ in reads]
            cut = own.split([self.as_looked_up(p, read.feature).num_bags for p, read in zip(asked, reads, strict=True)])
            for read, part, part_rows in zip(reads, asked, cut, strict=True):
                lengths = part.lengths if self.counts_ids(read.feature) else None
                found[piece, read.feature] = Rows(part_rows) if lengths is None else pooled(part_rows, lengths)
        return found


def _columns_of(merged: Merged, output: str) -> slice:
    """Columns of a whole output that a rank's part of it fills."""
    own = merged.field_sum
    is_whole = merged.columns is None or output == own.product_name or (output == own.squares_name and own.norm)
    return slice(None) if is_whole or merged.columns is None else slice(*merged.columns)
