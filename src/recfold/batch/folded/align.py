"""Operands brought under one index, so that a row-wise function can run on their distinct rows."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.dispatch import Call, Why
from recfold.batch.folded.folded import Folded, rows_along
from recfold.batch.refinement import refined

PAYS = 0.75
"""Most distinct pairs a sample for which two indexes are refined instead of unfolded."""


def common_index(indexes: Sequence[FoldIndex]) -> FoldIndex | Why:
    """The index that all share, or their refinement where that stays well below the batch.

    Raises:
        InputError: indexes of different batches.
    """
    distinct = list(dict.fromkeys(indexes))
    common = distinct[0]
    for other in distinct[1:]:
        if other.num_samples != common.num_samples:
            return Why("indexes of different numbers of samples")
        if common.is_identity or other.is_identity:
            return Why("one of the indexes repeats nothing")
        common = refined(common, other).index
        if common.num_distinct > PAYS * common.num_samples:
            return Why(f"groups that change at different rates: {common.num_distinct} distinct pairs")
    return common


def under(folded: Folded, index: FoldIndex) -> Tensor:
    """Values of a Folded under a refinement of its index."""
    if folded.index is index:
        return folded.values
    rows = index.rows_of(folded.index)
    if folded.batch_axis == 0 and folded.values.is_contiguous():
        return rows(folded.values)
    return rows_along(folded.values, folded.batch_axis, rows.source_P, rows, lambda grad: rows.transposed()(grad))


def per_sample(tensor: Tensor, place: int, num_samples: int) -> bool:
    """Whether an ordinary operand differs from sample to sample; `place` is the batch axis, counted from the end."""
    if -place > tensor.dim() or tensor.shape[place] == 1:
        return False
    return tensor.shape[place] != num_samples or tensor.stride(place) != 0


def row_wise(call: Call, axis: Callable[[Tensor], int] | None = None, *, last_free: int = 0) -> Any:
    """Run a function that treats every row of the batch alike, its operands aligned from their last axis.

    Args:
        axis: where the batch is in an output; as far from its last axis as in the operands where not given.
        last_free: how many of the last axes the function works along: the batch must not be among them.
    Returns:
        The function's outputs as Folded, or Why not.
    """
    operands = call.operands()
    own = [operand for operand in operands if isinstance(operand, Folded)]
    places = {folded.batch_axis - folded.ndim for folded in own}
    if len(places) > 1:
        return Why("operands have the batch on different axes")
    (place,) = places
    if -place <= last_free:
        return Why("it works along the batch axis")
    for operand in operands:
        if isinstance(operand, Tensor) and per_sample(operand, place, own[0].num_samples):
            return Why("an operand is per sample")
    index = common_index([folded.index for folded in own])
    if isinstance(index, Why):
        return index
    result = call.mapped(lambda given: _rows(given, index, place)).run()
    return wrapped(result, index, axis or (lambda out: out.dim() + place))


def _rows(given: Any, index: FoldIndex, place: int) -> Any:
    if isinstance(given, Folded):
        return under(given, index)
    if -place <= given.dim() and given.shape[place] != 1:
        return given.narrow(place, 0, 1)  # the same for every sample, written with stride 0
    return given


def on_values(call: Call, axis: Callable[[Tensor], int] | int) -> Any:
    """Run a function of one Folded on its values.

    Args:
        axis: where the batch is in an output.
    """
    (own,) = (operand for operand in call.operands() if isinstance(operand, Folded))
    result = call.mapped(lambda given: given.values if given is own else given).run()
    return wrapped(result, own.index, axis if callable(axis) else lambda _: axis)


def wrapped(result: Any, index: FoldIndex, axis: Callable[[Tensor], int]) -> Any:
    """Outputs that hold one row per distinct row, as Folded."""
    if isinstance(result, Tensor):
        return Folded(result, index, axis(result))
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(wrapped(part, index, axis) for part in result))
    if isinstance(result, (tuple, list)):
        return type(result)([wrapped(part, index, axis) for part in result])
    return result
