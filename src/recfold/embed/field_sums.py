"""Partial results: a rank adds up its own features' rows, and the sums travel instead of the rows.

    features of a group     item      genre     brand        a model needs   item + genre + brand   (and their squares)
    rank 0                  [U, D]    [U, D]                 sends           one [U, D]
    rank 1                                      [U, D]       sends           one [U, D]

Exact for what is linear in the rows: sums, and a matrix times the rows side by side, of which each rank multiplies its
own. Squares of single ids add up too, whatever the cut. A square of a pooled row needs the whole row: its tables may be
cut by columns, not by rows.

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
        columns: that it holds; None where columns are added up too.
        members: its pieces with these columns, and the read that each serves.
    """

    field_sum: FieldSum
    columns: tuple[int, int] | None
    members: tuple[tuple[Piece, Read], ...]


def merged_on(rank: int, field_sums: Sequence[FieldSum], slots: Slots) -> tuple[Merged, ...]:
    """In an order that all ranks share."""
    found = []
    for field_sum in field_sums:
        own = [(piece, read) for piece, read in slots.on(rank) if read.feature in field_sum.features]
        if own and not field_sum.adds_columns:
            found.append(Merged(field_sum, None, tuple(own)))
            continue
        for columns in sorted({piece.shard.columns for piece, _ in own}):
            members = tuple((piece, read) for piece, read in own if piece.shard.columns == columns)
            found.append(Merged(field_sum, columns, members))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a feature that one shard, or a replicated table, holds, each times its id's weight.

    Args:
        pooled_UD: of each list.
        ids_VD: of each id, where squares count them one by one; bag_V: the list of each.
    """

    pooled_UD: Tensor
    ids_VD: Tensor | None = None
    bag_V: Tensor | None = None


def pooled(ids_VD: Tensor, length_U: Tensor) -> Rows:
    """Rows of ids, and their sums over lists of these lengths."""
    numbers_U = torch.arange(len(length_U), device=ids_VD.device)
    bag_V = torch.repeat_interleave(numbers_U, length_U, output_size=len(ids_VD))
    return Rows(ids_VD.new_zeros(len(length_U), ids_VD.shape[1]).index_add_(0, bag_V, ids_VD), ids_VD, bag_V)


def squares_of(rows: Rows, field_sum: FieldSum) -> Tensor:
    """Squares [U, D] of a feature, or [U, 1] where they are added over columns."""
    if rows.ids_VD is None or rows.bag_V is None:
        squares_UD = rows.pooled_UD.square()
        return squares_UD.sum(1, keepdim=True) if field_sum.norm else squares_UD
    squares_VD = rows.ids_VD.square()
    if field_sum.norm:
        squares_VD = squares_VD.sum(1, keepdim=True)
    return squares_VD.new_zeros(len(rows.pooled_UD), squares_VD.shape[1]).index_add_(0, rows.bag_V, squares_VD)


def results_of(rows: Rows, field_sum: FieldSum, matrix_HD: Tensor | None) -> list[Tensor]:
    """What one feature adds to each output of its sum.

    Args:
        matrix_HD: the feature's columns of the matrix.
    """
    found = [rows.pooled_UD] if field_sum.total else []
    if field_sum.squares is not None:
        found.append(squares_of(rows, field_sum))
    if matrix_HD is not None:
        found.append(rows.pooled_UD @ matrix_HD.t())
    return found


def grad_of_rows(rows: Rows, field_sum: FieldSum, grads: Sequence[Tensor], matrix_HD: Tensor | None) -> Tensor:
    """Gradient of a feature's rows, [U, D], or [V, D] of its ids, from those of the outputs of its sum.

    Args:
        grads: in the order of `results_of`.
    """
    left = list(grads)
    grad_UD = left.pop(0) if field_sum.total else torch.zeros_like(rows.pooled_UD)
    of_squares = left.pop(0) if field_sum.squares is not None else None
    if matrix_HD is not None:
        grad_UD = torch.addmm(grad_UD, left.pop(0), matrix_HD)
    if rows.ids_VD is None or rows.bag_V is None:
        return grad_UD if of_squares is None else grad_UD + 2.0 * of_squares * rows.pooled_UD
    grad_VD = grad_UD.index_select(0, rows.bag_V)
    return grad_VD if of_squares is None else grad_VD + 2.0 * of_squares.index_select(0, rows.bag_V) * rows.ids_VD


def as_weighted(bags: Bags, mode: str, dtype: torch.dtype) -> Bags:
    """A mean as a weighted sum: a rank that adds up features cannot divide each by its own length."""
    if mode != "mean":
        return bags
    length_U = bags.offsets.diff()
    share_V = torch.repeat_interleave(length_U.to(dtype).reciprocal(), length_U, output_size=len(bags.values))
    return Bags(bags.values, bags.offsets, share_V if bags.weights is None else share_V * bags.weights.to(dtype))


def field_sums_reference(
    outputs: Mapping[str, Tensor],
    field_sums: Sequence[FieldSum],
    lengths: Mapping[str, Tensor] | None = None,
    matrices: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The slow twin: outputs of whole tables, the features of a sum replaced by it; differentiable by autograd.

    Args:
        outputs: rows [U, D] of features; [V, D], of ids times their weights, where squares are of ids.
        lengths: feature -> [U] lengths of the lists of such a feature.
        matrices: sum -> the matrix [H, sum of dims] that multiplies its features' rows.
    """
    summed = {feature for field_sum in field_sums for feature in field_sum.features}
    found = {feature: rows for feature, rows in outputs.items() if feature not in summed}
    for field_sum in field_sums:
        rows = [outputs[feature] for feature in field_sum.features]
        squares = [own.square() for own in rows] if field_sum.squares else []
        if field_sum.squares == "ids":
            counts = [(lengths or {})[feature].tolist() for feature in field_sum.features]
            rows, squares = (
                [_sums(own, count) for own, count in zip(all_, counts, strict=True)] for all_ in (rows, squares)
            )
        if field_sum.total:
            found[field_sum.name] = torch.stack(rows).sum(0)
        if squares:
            squares_UD = torch.stack(squares).sum(0)
            found[field_sum.squares_name] = squares_UD.sum(1, keepdim=True) if field_sum.norm else squares_UD
        if field_sum.product:
            found[field_sum.product_name] = torch.cat(rows, 1) @ (matrices or {})[field_sum.name].t()
    return found


def _sums(rows_VD: Tensor, lengths: Sequence[int]) -> Tensor:
    """The sum of each list's rows, [U, D]."""
    return torch.stack([part.sum(0) for part in rows_VD.split(lengths)]) if lengths else rows_VD[:0]


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
    if empty := [field_sum.name for field_sum in field_sums if not field_sum.outputs]:
        raise InputError(f"field sum {empty[0]!r} gives nothing", todo="ask for its total, squares or product")
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
            if field_sum.squares == "fields" and len({shard.rows for shard in plan.tables[read.table].shards}) > 1:
                raise InputError(
                    f"field sum {field_sum.name!r} needs squares of whole rows, "
                    f"but table {read.table!r} is cut by rows",
                    todo="place it table-wise or column-wise, or leave this sum to the model",
                )
            taken.add(feature)
            dim = tables[read.table].dim if field_sum.adds_columns else 0  # a matrix takes any width
            shapes.add((together.get(feature), dim, tables[read.table].out_dtype))
        if len(shapes) > 1 or None in {group for group, _, _ in shapes}:
            raise InputError(
                f"features of field sum {field_sum.name!r} are not of one group, width and type",
                got=", ".join(sorted(f"{group} x {dim} x {dtype}" for group, dim, dtype in shapes)),
                todo="make a sum for each",
            )
