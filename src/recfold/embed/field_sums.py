"""Partial results: a rank adds up its own features' rows, and the sums travel instead of the rows.

    features of a group     item      genre     brand        a model needs   item + genre + brand   (and their squares)
    rank 0                  [U, D]    [U, D]                 sends           one [U, D]
    rank 1                                      [U, D]       sends           one [U, D]

Exact for what is linear in the rows. A sum of squares needs whole rows: its tables may be cut by columns, not by rows.

Source: Rong et al. 2020, "Distributed Equivalent Substitution Training for Large-Scale Recommender Systems".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.embed.bags import Bags
from recfold.embed.pieces import Piece, Slots
from recfold.embed.resolved_table import ResolvedTable
from recfold.spec import FieldSum, InputError, Plan, Read


@dataclass(frozen=True, eq=False)
class Merged:
    """What one rank adds up for one field sum.

    Args:
        field_sum: which.
        columns: that it holds.
        members: its pieces with these columns, and the read that each serves.
    """

    field_sum: FieldSum
    columns: tuple[int, int]
    members: tuple[tuple[Piece, Read], ...]


def merged_on(rank: int, field_sums: Sequence[FieldSum], slots: Slots) -> tuple[Merged, ...]:
    """In an order that all ranks share."""
    found = []
    for field_sum in field_sums:
        own = [(piece, read) for piece, read in slots.on(rank) if read.feature in field_sum.features]
        for columns in sorted({piece.shard.columns for piece, _ in own}):
            members = tuple((piece, read) for piece, read in own if piece.shard.columns == columns)
            found.append(Merged(field_sum, columns, members))
    return tuple(found)


def add_fields(merged: Merged, rows: Mapping[tuple[Piece, str], Tensor]) -> list[Tensor]:
    """The sum [U, D] of the members' rows, and that of their squares where it is wanted."""
    own = [rows[piece, read.feature] for piece, read in merged.members]
    totals = [torch.stack(own).sum(0) if len(own) > 1 else own[0]]
    if merged.field_sum.squares:
        totals.append(torch.stack(own).square_().sum(0))
    return totals


def grad_of_field(rows_UD: Tensor, grads: Sequence[Tensor]) -> Tensor:
    """Gradient of a member's rows from those of the sum and, where there is one, of the sum of squares."""
    return torch.addcmul(grads[0], rows_UD, grads[1], value=2.0) if len(grads) > 1 else grads[0]


def as_weighted(bags: Bags, mode: str, dtype: torch.dtype) -> Bags:
    """A mean as a weighted sum: a rank that adds up features cannot divide each by its own length."""
    if mode != "mean":
        return bags
    length_U = bags.offsets.diff()
    share_V = torch.repeat_interleave(length_U.to(dtype).reciprocal(), length_U, output_size=len(bags.values))
    return Bags(bags.values, bags.offsets, share_V if bags.weights is None else share_V * bags.weights.to(dtype))


def field_sums_reference(outputs: Mapping[str, Tensor], field_sums: Sequence[FieldSum]) -> dict[str, Tensor]:
    """The slow twin: outputs of whole tables, the features of a sum replaced by it; differentiable by autograd."""
    summed = {feature for field_sum in field_sums for feature in field_sum.features}
    found = {feature: rows for feature, rows in outputs.items() if feature not in summed}
    for field_sum in field_sums:
        stack_FUD = torch.stack([outputs[feature] for feature in field_sum.features])
        found[field_sum.name] = stack_FUD.sum(0)
        if field_sum.squares:
            found[field_sum.squares_name] = stack_FUD.square().sum(0)
    return found


def check_field_sums(
    field_sums: Sequence[FieldSum],
    reads: Sequence[Read],
    tables: Mapping[str, ResolvedTable],
    together: Mapping[str, str],
    plan: Plan,
) -> None:
    """Can these features be added up where their rows are?

    Raises:
        InputError: an unknown feature, one in two sums, features of several groups or widths, histories, or squares of
            a table that is cut by rows.
    """
    by_feature = {read.feature: read for read in reads}
    taken: set[str] = set()
    names = [name for field_sum in field_sums for name in field_sum.outputs]
    for name in names:
        if name in by_feature or names.count(name) > 1:
            raise InputError(f"field sum {name!r} has the name of another output", todo="rename it")
    for field_sum in field_sums:
        shapes = set()
        for feature in field_sum.features:
            read = by_feature.get(feature)
            if read is None or feature in taken:
                what = "which is read by no table" if read is None else "which is in another sum already"
                raise InputError(f"field sum {field_sum.name!r} has feature {feature!r}, {what}")
            if read.mode == "rows":
                raise InputError(f"field sum {field_sum.name!r} has the history {feature!r}", todo="pool it first")
            if field_sum.squares and len({shard.rows for shard in plan.tables[read.table].shards}) > 1:
                raise InputError(
                    f"field sum {field_sum.name!r} needs squares of whole rows, "
                    f"but table {read.table!r} is cut by rows",
                    todo="place it table-wise or column-wise, or leave this sum to the model",
                )
            taken.add(feature)
            shapes.add((together.get(feature), tables[read.table].dim, tables[read.table].out_dtype))
        if len(shapes) > 1 or None in {group for group, _, _ in shapes}:
            raise InputError(
                f"features of field sum {field_sum.name!r} are not of one group, width and type",
                got=", ".join(sorted(f"{group} x {dim} x {dtype}" for group, dim, dtype in shapes)),
                todo="make a sum for each",
            )
