"""Functions along given axes: row by row where the batch is not among them."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from recfold.batch.folded.align import on_values, row_wise, wrapped
from recfold.batch.folded.dispatch import Call, Why, rule, sequence_of
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.names import words

BATCH_IS_IN_IT = Why("it works along the batch axis")

# name -> position of its axes among the arguments, and their default (None: all)
REDUCTIONS: dict[str, tuple[int, int | None]] = dict.fromkeys(
    words(
        """
        sum nansum mean nanmean prod amax amin max min argmax argmin all any logsumexp std var median nanmedian
        count_nonzero std_mean var_mean
        """
    ),
    (1, None),
) | {"mode": (1, -1), "norm": (2, None), "vector_norm": (2, None), "aminmax": (-1, None), "kthvalue": (2, -1)}

# functions that keep all axes and work along some
ALONG: dict[str, tuple[int, int | None]] = {
    "softmax": (1, None),
    "log_softmax": (1, None),
    "softmin": (1, None),
    "cumsum": (1, None),
    "cumprod": (1, None),
    "logcumsumexp": (1, None),
    "cummax": (1, None),
    "cummin": (1, None),
    "sort": (1, -1),
    "argsort": (1, -1),
    "topk": (2, -1),
    "flip": (1, None),
    "roll": (2, None),
    "diff": (2, -1),
    "normalize": (2, 1),
    "glu": (1, -1),
    "repeat_interleave": (2, None),
    "narrow": (1, None),
    "split": (2, 0),
    "chunk": (2, 0),
    "tensor_split": (2, 0),
}


@rule(*REDUCTIONS)
def reduction(call: Call) -> Any:
    own, second = call.arg(0, "input"), call.arg(1, "other")
    if call.name in ("max", "min") and isinstance(second, (Tensor, Folded)):
        return row_wise(call)
    if not isinstance(own, Folded) or len(call.operands()) > 1:
        return Why("its axes are tensors")
    axes = _axes(call, own, *REDUCTIONS[call.name or ""])
    if axes is None or own.batch_axis in axes:
        return BATCH_IS_IN_IT
    before = sum(axis < own.batch_axis for axis in axes)
    return on_values(call, lambda out: own.batch_axis - (before if out.dim() < own.ndim else 0))


@rule(*ALONG)
def along(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, Folded) or len(call.operands()) > 1:
        return Why("another argument is a tensor")
    axes = _axes(call, own, *ALONG[call.name or ""])
    if axes is None or own.batch_axis in axes:
        return BATCH_IS_IN_IT
    return on_values(call, own.batch_axis)


@rule("select", "unbind")
def one_of(call: Call) -> Any:
    """Drops an axis."""
    own = call.args[0]
    axis = int(call.arg(1, "dim", 0)) % own.ndim
    if axis == own.batch_axis:
        return Why("it takes samples apart")
    return on_values(call, own.batch_axis - (axis < own.batch_axis))


@rule("index_select")
def index_select(call: Call) -> Any:
    own, axis, chosen = call.arg(0, "input"), call.arg(1, "dim"), call.arg(2, "index")
    if not isinstance(own, Folded) or isinstance(chosen, Folded) or axis % own.ndim == own.batch_axis:
        return Why("samples are chosen")
    return on_values(call, own.batch_axis)


@rule("gather", "take_along_dim")
def gather(call: Call) -> Any:
    """Each row's own indices choose from it."""
    own, chosen = call.args[0], call.arg(2, "index") if call.name == "gather" else call.arg(1, "indices")
    axis = call.arg(1, "dim") if call.name == "gather" else call.arg(2, "dim")
    if not (isinstance(own, Folded) and isinstance(chosen, Folded)):
        return Why("an operand is per sample")
    if axis is None or axis % own.ndim == own.batch_axis or own.index is not chosen.index:
        return Why("the indices belong to other rows")
    if own.batch_axis != chosen.batch_axis:
        return Why("operands have the batch on different axes")
    result = call.mapped(lambda given: given.values if isinstance(given, Folded) else given).run()
    return wrapped(result, own.index, lambda out: own.batch_axis)


@rule("cosine_similarity")
def cosine_similarity(call: Call) -> Any:
    operands = call.operands()
    axis, ndim = call.arg(2, "dim", 1), max(operand.ndim for operand in operands)
    place = next(operand.batch_axis - operand.ndim for operand in operands if isinstance(operand, Folded))
    if not -ndim <= axis < ndim or axis % ndim - ndim == place:
        return BATCH_IS_IN_IT
    after = ndim + place - (axis % ndim < ndim + place)
    return row_wise(call, lambda out: after)


def _axes(call: Call, own: Folded, position: int, default: int | None) -> set[int] | None:
    """The axes that a call names, from 0; None where it works along all."""
    given = call.kwargs.get("dim", call.kwargs.get("axis", call.kwargs.get("dims")))
    if given is None and 0 <= position < len(call.args):
        given = call.args[position : position + 1] if call.name != "flip" else call.args[position:]
        given = given[0] if len(given) == 1 else given
    if given is None:
        given = default
    if given is None or isinstance(given, bool) or given == ():
        return None
    axes: Iterable[Any] = sequence_of(given)
    if not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
        return None
    axes = list(axes)
    return {axis % own.ndim for axis in axes} if axes else None
