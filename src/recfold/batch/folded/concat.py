"""Concatenations: under one index they stay Folded; under several, nothing is copied until a result needs it."""

import functools
import itertools
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.dispatch import Call, Why, axis_of, dispatch, entries_of, rule, sequence_of
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.lazy_concat import LazyConcat, Part
from recfold.batch.folded.names import IN_PLACE, NAMES, POINTWISE
from recfold.batch.folded.shapes import resolved
from recfold.batch.folded.tensor_like import Lazy, TensorLike
from recfold.batch.refinement import check_same_batch


def cat(call: Call) -> Any:
    parts = list(sequence_of(call.arg(0, "tensors")))
    return _joined(parts, call.arg(1, "dim", call.kwargs.get("axis", 0)))


def stack(call: Call) -> Any:
    parts = list(sequence_of(call.arg(0, "tensors")))
    axis = call.arg(1, "dim", 0)
    if len({tuple(part.shape) for part in parts}) > 1:
        return Why("shapes differ")
    axis = axis_of(axis, parts[0].ndim + 1)
    stacked: list[Any] = []
    for (index, place, _), own in itertools.groupby(parts, _alike_in_a_stack):
        if index is None:
            stacked += [part.unsqueeze(axis) for part in own]
        else:  # one part of a concatenation: each costs its share of everything that follows
            values = [part.values for part in own]
            stacked.append(Folded(torch.stack(values, axis), index, place + (axis <= place)))
    return _joined(stacked, axis)


def _alike_in_a_stack(part: Any) -> tuple[FoldIndex | None, int, torch.dtype | None]:
    return (part.index, part.batch_axis, part.dtype) if type(part) is Folded else (None, 0, None)


for _lazy in (False, True):
    rule("cat", "concat", "concatenate", lazy=_lazy)(cat)
    rule("stack", lazy=_lazy)(stack)


def _joined(parts: list[Any], axis: int) -> Any:
    parts = [part.settled() if isinstance(part, Lazy) and not isinstance(part, LazyConcat) else part for part in parts]
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(parts, axis)
    ndim = parts[0].ndim
    if not all(part.ndim == ndim for part in parts) or not -ndim <= axis < ndim:
        return Why("numbers of axes differ")
    axis %= ndim
    places = {part.batch_axis for part in parts if not isinstance(part, Tensor)}
    if len(places) > 1:
        return Why("operands have the batch on different axes")
    (place,) = places
    if axis == place:
        return Why("it works along the batch axis")
    shapes = {tuple(size for at, size in enumerate(part.shape) if at != axis) for part in parts}
    if len(shapes) > 1:
        return Why("shapes differ")
    flat, order = _flattened(parts, axis)
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    flat = [part if part.dtype == dtype else part.to(dtype) for part in flat]
    folded = [part for part in flat if isinstance(part, Folded)]
    for part in folded[1:]:
        check_same_batch(folded[0].index, part.index)
    if any(part.is_inference() for part in flat if isinstance(part, Tensor)):
        return Why("tensors of inference mode do not tell when they change")
    if len(folded) == len(flat) and len({part.index for part in folded}) == 1:
        values = torch.cat([part.values for part in folded], axis)
        return Folded(values if order is None else values.index_select(axis, order), folded[0].index, place)
    return LazyConcat(flat, axis, place, order)


def _flattened(parts: list[Any], axis: int) -> tuple[list[Part], Tensor | None]:
    """Parts of lazy ones side by side; the order of all columns, None for as they lie."""
    flat: list[Part] = []
    widths: list[int] = []
    orders: list[Tensor | None] = []
    for part in parts:
        if isinstance(part, LazyConcat) and part.axis == axis:
            flat.extend(part.fresh_parts())
            orders.append(part.order)
            widths.append(sum(part.widths))
        else:
            flat.append(part if isinstance(part, (Tensor, Folded)) else part.settled())
            orders.append(None)
            widths.append(part.shape[axis])
    if all(order is None for order in orders):
        return flat, None
    starts = itertools.accumulate(widths[:-1], initial=0)
    device = flat[0].device
    return flat, torch.cat(
        [
            (torch.arange(width, device=device) if order is None else order) + start
            for width, order, start in zip(widths, orders, starts, strict=True)
        ]
    )


NOT_ONE = Why("it is not a concatenation")
_PART_BY_PART = (*POINTWISE, "to", "cpu", "cuda", "type", "contiguous")
_EVAL_ONLY = ("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_dropout", "rrelu")


_MAY_ALIAS = (
    *("contiguous", "detach", "to", "cpu", "cuda", "type", "type_as", "positive", "real", "conj"),
    *("double", "float", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool"),
)
"""Functions that give the tensor itself, or a view of it, where nothing is to be done."""


@rule(*_PART_BY_PART, lazy=True)
def pointwise(call: Call) -> Any:
    """Part by part, where the other operands are the same for all samples or arranged alike."""
    lazies = [operand for operand in call.operands() if isinstance(operand, LazyConcat)]
    first = lazies[0] if lazies else None
    if first is None or (call.name == "type" and len(call.args) + len(call.kwargs) < 2):
        return Why("it is not a concatenation")
    for other in call.operands():
        if isinstance(other, LazyConcat):
            if not _alike(first, other):
                return Why("concatenations of different parts")
        elif not isinstance(other, Tensor) or _by_sample(other, first) or not _fits(other, first):
            return Why("an operand is per sample")
    inplace = bool(call.kwargs.get("inplace"))
    if inplace and first is not call.args[0]:
        return Why("an ordinary tensor is written to")
    if inplace:
        call = Call(call.name, call.func, call.args, {**call.kwargs, "inplace": False})
    found = []
    start = 0
    for number, width in enumerate(first.widths):
        columns = (start, width)
        found.append(call.mapped(functools.partial(_part, lazy=first, number=number, columns=columns)).run())
        start += width
    result = first.with_parts(found)
    if inplace:
        return _rebound(first, result)
    return first.as_view(result) if call.name in _MAY_ALIAS else result


@rule(*_EVAL_ONLY, lazy=True)
def in_evaluation(call: Call) -> Any:
    if call.kwargs.get("training", True) and call.arg(1, "p", 0.5) != 0:
        return Why("it draws random numbers for every sample")
    result = pointwise(call)
    own = call.args[0]
    return own.as_view(result) if isinstance(result, LazyConcat) and result is not own else result


@rule(*(f"{name}_" for name in POINTWISE if f"{name}_" in NAMES.values() and f"{name}_" in IN_PLACE), lazy=True)
def in_place(call: Call) -> Any:
    own = call.args[0]
    if not isinstance(own, LazyConcat):
        return Why("an ordinary tensor is written to")
    plain_name = (call.name or "").removesuffix("_")
    func = getattr(torch.Tensor, plain_name, None) or getattr(torch.nn.functional, plain_name)
    result = dispatch(func, call.args, call.kwargs)
    if not isinstance(result, LazyConcat) or result.dtype != own.dtype:
        return Why("an operand is per sample")
    return _rebound(own, result)


def _rebound(own: LazyConcat, result: LazyConcat) -> Any:
    if own.viewed:
        return Why("a part of the concatenation was taken before")
    own.replace_(result)
    return own


def _alike(first: LazyConcat, other: LazyConcat) -> bool:
    if (first.widths, first.axis, first.batch_axis, first.ndim) != (
        other.widths,
        other.axis,
        other.batch_axis,
        other.ndim,
    ):
        return False
    if first.order is None or other.order is None:
        return first.order is other.order
    return torch.equal(first.order, other.order)


def _by_sample(other: Tensor, lazy: LazyConcat) -> bool:
    place = lazy.batch_axis - lazy.ndim
    return -place <= other.dim() and other.shape[place] != 1


def _fits(other: Tensor, lazy: LazyConcat) -> bool:
    place = lazy.axis - lazy.ndim
    return other.dim() <= lazy.ndim and (-place > other.dim() or other.shape[place] in (1, lazy.shape[place]))


def _part(given: Any, lazy: LazyConcat, number: int, columns: tuple[int, int]) -> Any:
    """What of an operand belongs to one part."""
    if isinstance(given, LazyConcat):
        return given.fresh_parts()[number]
    place = lazy.axis - lazy.ndim
    if -place > given.dim() or given.shape[place] == 1:
        return given
    if lazy.order is not None:
        given = given.index_select(place, lazy.order.argsort())
    return given.narrow(place, *columns)


def _instead(own: LazyConcat, part: Part, given: Any) -> Any:
    return part if given is own else given


@rule("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "mT", lazy=True)
def moved(call: Call) -> Any:
    own = call.args[0] if call.args else call.kwargs.get("input")
    if not isinstance(own, LazyConcat):
        return Why("it is not a concatenation")
    parts = [call.mapped(functools.partial(_instead, own, part)).run() for part in own.fresh_parts()]
    probe = call.mapped(lambda given: torch.empty(tuple(range(1, own.ndim + 1)), device="meta")).run()
    sizes = [size - 1 for size in probe.shape]
    return own.as_view(own.with_parts(parts, axis=sizes.index(own.axis), batch_axis=sizes.index(own.batch_axis)))


@rule("flatten", "view", "reshape", "unflatten", lazy=True)
def reshape(call: Call) -> Any:
    """[B, parts, D] to [B, parts x D], and back where every part is a multiple of D wide."""
    own = call.args[0] if call.args else call.kwargs.get("input")
    if not isinstance(own, LazyConcat) or own.batch_axis != 0 or own.axis != 1:
        return Why("another axis than the second is concatenated")
    shape = _target(call, own)
    if shape is None or not shape or shape[0] != own.num_samples or own.num_samples == 0:
        return Why("the batch axis is merged with others or cut")
    if shape == list(own.shape):
        return own.as_view(own.with_parts(own.fresh_parts()))
    if own.ndim > 2 and len(shape) == 2 and shape[1] == own.shape[1:].numel():
        inner = own.shape[2:].numel()
        parts = [part.flatten(1) for part in own.fresh_parts()]
        order = own.order
        if order is not None:
            order = (order.unsqueeze(1) * inner + torch.arange(inner, device=order.device)).flatten()
        return own.as_view(LazyConcat(parts, 1, 0, order))
    inner = torch.Size(shape[2:]).numel() if shape[2:] else 0
    if own.ndim == 2 and len(shape) > 2 and own.order is None and inner and not any(w % inner for w in own.widths):
        return own.as_view(LazyConcat([part.unflatten(1, (-1, *shape[2:])) for part in own.fresh_parts()], 1, 0))
    return Why("its parts are not whole after it")


_FLATTENED = ((1, "start_dim", 0), (2, "end_dim", -1))


def _target(call: Call, own: LazyConcat) -> list[int] | None:
    if call.name == "flatten":
        ends = (axis_of(call.arg(position, name, default), own.ndim) for position, name, default in _FLATTENED)
        if tuple(ends) != (1, own.ndim - 1):
            return None
        return [own.num_samples, own.shape[1:].numel()]
    if call.name == "unflatten":
        if axis_of(call.arg(1, "dim"), own.ndim) != 1:
            return None
        sizes = resolved(torch.Size(own.shape[1:2]), list(sequence_of(call.arg(2, "sizes"))))
        return [own.num_samples, *sizes, *own.shape[2:]]
    given = call.args[1:] or (call.kwargs.get("shape", call.kwargs.get("size")),)
    if isinstance(given[0], torch.dtype) or given[0] is None:
        return None
    shape = resolved(own.shape, list(sequence_of(given[0])) if len(given) == 1 else list(given))
    return shape if torch.Size(shape).numel() == own.shape.numel() else None


@rule("getitem", lazy=True)
def getitem(call: Call) -> Any:
    """A slice, one or some of the columns, for all samples."""
    own, given = call.args
    if not isinstance(own, LazyConcat):
        return Why("an ordinary tensor is indexed with a concatenation")
    items = list(given) if isinstance(given, tuple) else [given]
    if any(isinstance(item, TensorLike) for item in items):
        return Why("its index is folded")
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (own.ndim - len(items) + 1)
    items += [slice(None)] * (own.ndim - len(items))
    rest = [item for axis, item in enumerate(items) if axis != own.axis]
    if len(items) != own.ndim or any(not (isinstance(item, slice) and item == slice(None)) for item in rest):
        return Why("it chooses more than columns")
    item, width = items[own.axis], own.shape[own.axis]
    if isinstance(item, slice):
        start, stop, step = item.indices(width)
        if step == 1 and start < stop:
            return own.slice(start, stop)
    if isinstance(item, int) and not isinstance(item, bool) and -width <= item < width:
        return _column(own, item % width)
    if isinstance(item, Tensor) and item.dtype == torch.int64 and item.dim() == 1 and len(item):
        return own.columns(entries_of(item, width, -width))
    return Why("it chooses more than columns")


@rule("index_select", lazy=True)
def index_select(call: Call) -> Any:
    own, axis, chosen = call.arg(0, "input"), call.arg(1, "dim"), call.arg(2, "index")
    if not isinstance(own, LazyConcat) or axis_of(axis, own.ndim) != own.axis or not isinstance(chosen, Tensor):
        return Why("it chooses more than columns")
    if chosen.dim() != 1 or not len(chosen) or chosen.dtype not in (torch.int32, torch.int64):
        return Why("it chooses more than columns")
    return own.columns(entries_of(chosen.long(), own.shape[own.axis], 0))


@rule("narrow", lazy=True)
def narrow(call: Call) -> Any:
    own, axis = call.arg(0, "input"), call.arg(1, "dim")
    if not isinstance(own, LazyConcat) or axis_of(axis, own.ndim) != own.axis or call.arg(3, "length") < 1:
        return Why("it chooses more than columns")
    start, width = call.arg(2, "start"), own.shape[own.axis]
    if not isinstance(start, int) or not -width <= start < width or start % width + call.arg(3, "length") > width:
        return Why("it chooses more than columns")
    return own.slice(start % width, start % width + call.arg(3, "length"))


@rule("select", lazy=True)
def select(call: Call) -> Any:
    own, axis = call.arg(0, "input"), call.arg(1, "dim")
    if not isinstance(own, LazyConcat) or axis_of(axis, own.ndim) != own.axis:
        return Why("it chooses more than columns")
    index, width = call.arg(2, "index"), own.shape[own.axis]
    return _column(own, index % width) if -width <= index < width else Why("there is no such column")


@rule("unbind", lazy=True)
def unbind(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, LazyConcat) or axis_of(call.arg(1, "dim", 0), own.ndim) != own.axis:
        return Why("it chooses more than columns")
    return tuple(_column(own, column) for column in range(own.shape[own.axis]))


@rule("split", "chunk", lazy=True)
def split(call: Call) -> Any:
    own, axis = call.arg(0, "tensor", call.kwargs.get("input")), call.arg(2, "dim", 0)
    if not isinstance(own, LazyConcat) or axis_of(axis, own.ndim) != own.axis:
        return Why("it chooses more than columns")
    width, given = own.shape[own.axis], call.args[1] if len(call.args) > 1 else None
    if isinstance(given, int) and given > 0:
        size = given if call.name == "split" else -(-width // given)
        sizes = [min(size, width - start) for start in range(0, width, size)]
    elif isinstance(given, (list, tuple)) and sum(given) == width and all(size > 0 for size in given):
        sizes = list(given)
    else:
        return Why("its sections are not given as numbers")
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(own.slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def _column(own: LazyConcat, column: int) -> Any:
    at = column if own.order is None else int(own.order[column])
    for part, width in zip(own.fresh_parts(), own.widths, strict=True):
        if at < width:
            return own.lent(part.select(own.axis, at))
        at -= width
    raise AssertionError


@rule("unsqueeze", lazy=True)
def unsqueeze(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, LazyConcat):
        return NOT_ONE
    axis = axis_of(call.arg(1, "dim"), own.ndim + 1)
    parts = [part.unsqueeze(axis) for part in own.fresh_parts()]
    return own.as_view(own.with_parts(parts, own.axis + (axis <= own.axis), own.batch_axis + (axis <= own.batch_axis)))


@rule("sum", "mean", lazy=True)
def total(call: Call) -> Any:
    """Over the concatenated axis: each part first, then the parts."""
    own, given = call.arg(0, "input"), call.arg(1, "dim", call.kwargs.get("axis"))
    axes = sequence_of(given) if given is not None else ()
    if (
        not isinstance(own, LazyConcat)
        or len(axes) != 1
        or axis_of(axes[0], own.ndim) != own.axis
        or call.kwargs.get("dtype") is not None
    ):
        return Why("it sums over other axes")
    if own.order is not None and len(own.order) != sum(own.widths):
        return Why("columns are repeated")
    keepdim = call.arg(2, "keepdim", False)
    result: Any = None
    for part in _by_index(own):
        summed = torch.sum(part, own.axis, keepdim=keepdim)
        result = summed if result is None else result + summed
    return result / own.shape[own.axis] if call.name == "mean" else result


def _by_index(own: LazyConcat) -> list[Part]:
    """Parts of one index next to each other as one part each."""
    groups: dict[Any, list[Any]] = {}
    for part in own.fresh_parts():
        groups.setdefault(part.index if isinstance(part, Folded) else None, []).append(part)
    return [members[0] if len(members) == 1 else torch.cat(members, own.axis) for members in groups.values()]


@rule("batch_norm", lazy=True)
def batch_norm(call: Call) -> Any:
    """Channel by channel, so part by part."""
    own = call.arg(0, "input")
    if not isinstance(own, LazyConcat) or own.axis != 1 or own.batch_axis != 0 or own.order is not None:
        return Why("its channels are not the concatenated axis")
    names = ("running_mean", "running_var", "weight", "bias")
    channels = [call.arg(position, name) for position, name in enumerate(names, start=1)]
    training, momentum, eps = call.arg(5, "training", False), call.arg(6, "momentum", 0.1), call.arg(7, "eps", 1e-5)
    parts, start = [], 0
    for part, width in zip(own.fresh_parts(), own.widths, strict=True):
        mean, var, weight, bias = (None if own is None else own[start : start + width] for own in channels)
        # as copies: the backward of one part must not see that the next one changes the same tensor
        new_mean, new_var = (None if given is None else given.clone() for given in (mean, var))
        parts.append(torch.nn.functional.batch_norm(part, new_mean, new_var, weight, bias, training, momentum, eps))
        for given, new in ((mean, new_mean), (var, new_var)):
            if training and given is not None and new is not None:
                given.copy_(new)
        start += width
    return own.with_parts(parts)
