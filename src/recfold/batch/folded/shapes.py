"""Functions that arrange axes: the batch axis moves with them, or stays whole."""

import math
from typing import Any

import torch
from torch import Tensor

from recfold.batch.folded import loans
from recfold.batch.folded.align import on_values
from recfold.batch.folded.dispatch import Call, Why, rule, sequence_of
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.tensor_like import TensorLike, plain

CUT = Why("the batch axis is merged with others or cut")


@rule("transpose", "swapaxes", "swapdims", "t", "adjoint")
def transpose(call: Call) -> Any:
    own = call.arg(0, "input")
    if call.name in ("t", "adjoint"):
        first, second = (-2, -1) if own.ndim >= 2 else (0, 0)
    else:
        first = call.arg(1, "dim0", call.kwargs.get("axis0"))
        second = call.arg(2, "dim1", call.kwargs.get("axis1"))
    first, second = first % own.ndim, second % own.ndim
    moved = {first: second, second: first}
    return on_values(call, moved.get(own.batch_axis, own.batch_axis))


@rule("permute")
def permute(call: Call) -> Any:
    own = call.arg(0, "input")
    order = [axis % own.ndim for axis in _listed(call, 1, "dims")]
    return on_values(call, order.index(own.batch_axis)) if own.batch_axis in order else CUT


@rule("movedim", "moveaxis")
def movedim(call: Call) -> Any:
    own = call.arg(0, "input")
    source = [axis % own.ndim for axis in sequence_of(call.arg(1, "source"))]
    target = [axis % own.ndim for axis in sequence_of(call.arg(2, "destination"))]
    order: list[int | None] = [None] * own.ndim
    for old, new in zip(source, target, strict=True):
        order[new] = old
    rest = iter(axis for axis in range(own.ndim) if axis not in source)
    order = [next(rest) if axis is None else axis for axis in order]
    return on_values(call, order.index(own.batch_axis))


@rule("unsqueeze")
def unsqueeze(call: Call) -> Any:
    own = call.arg(0, "input")
    axis = call.arg(1, "dim") % (own.ndim + 1)
    return on_values(call, own.batch_axis + (axis <= own.batch_axis))


@rule("squeeze")
def squeeze(call: Call) -> Any:
    own, given = call.arg(0, "input"), call.arg(1, "dim")
    asked = range(own.ndim) if given is None else [axis % own.ndim for axis in sequence_of(given)]
    gone = [axis for axis in asked if own.shape[axis] == 1]
    if own.batch_axis in gone or (given is not None and not _valid(own.ndim, sequence_of(given))):
        return CUT
    values = own.values.squeeze(tuple(gone)) if gone else own.values
    return Folded(values, own.index, own.batch_axis - sum(axis < own.batch_axis for axis in gone))


@rule("view", "reshape", "view_as", "flatten", "unflatten")
def reshape(call: Call) -> Any:
    own = call.args[0] if call.args else call.kwargs["input"]
    if call.name == "view_as":
        shape = list(call.arg(1, "other").shape)
    elif call.name == "flatten":
        if not (_valid(own.ndim, [call.arg(1, "start_dim", 0)]) and _valid(own.ndim, [call.arg(2, "end_dim", -1)])):
            return CUT
        shape = _flattened(own.shape, call.arg(1, "start_dim", 0), call.arg(2, "end_dim", -1))
    elif call.name == "unflatten":
        if not _valid(own.ndim, [call.arg(1, "dim")]):
            return CUT
        axis = call.arg(1, "dim") % own.ndim
        shape = [*own.shape[:axis], *sequence_of(call.arg(2, "sizes")), *own.shape[axis + 1 :]]
    else:
        if isinstance(call.arg(1, "dtype"), torch.dtype):
            return Why("the entries are read as another dtype")
        shape = _listed(call, 1, "shape")
    if not isinstance(own, Folded):
        return Why("only the shape is that of a Folded")
    place = batch_place(own.shape, own.batch_axis, shape)
    if place is None:
        return CUT
    target = [*resolved(own.shape, shape)]
    target[place] = own.num_distinct
    if call.name in ("reshape", "flatten"):
        return certain(own, Folded(own.values.reshape(target), own.index, place))
    return Folded(own.values.view(target), own.index, place)


def resolved(shape: torch.Size, target: list[int]) -> list[int]:
    """A target shape with its -1 filled in."""
    if -1 not in target:
        return list(target)
    known = math.prod(size for size in target if size != -1)
    return [shape.numel() // known if size == -1 and known else size for size in target]


def batch_place(shape: torch.Size, batch_axis: int, target: list[int]) -> int | None:
    """Where the batch axis is after a reshape; None where it does not stay whole, or the reshape is impossible."""
    target = resolved(shape, target)
    if math.prod(target) != shape.numel() or 0 in shape:
        return None
    before = math.prod(shape[:batch_axis])
    product = 1
    for place, size in enumerate(target):
        if product == before and size == shape[batch_axis]:
            return place
        product *= size
    return None


@rule("expand", "expand_as")
def expand(call: Call) -> Any:
    own = call.args[0]
    if call.name == "expand_as":
        if not isinstance(own, Folded):
            return Why("only the shape is that of a Folded")
        sizes = list(call.arg(1, "other").shape)
    else:
        sizes = _listed(call, 1, "size")
    place = own.batch_axis - own.ndim
    if -place > len(sizes) or (sizes[place] not in (-1, own.shape[place])):
        return CUT
    sizes[place] = own.num_distinct
    return Folded(own.values.expand(sizes), own.index, len(sizes) + place)


@rule("repeat", "tile")
def repeat(call: Call) -> Any:
    own = call.args[0] if call.args else call.kwargs["input"]
    repeats = _listed(call, 1, "dims" if call.name == "tile" else "repeats")
    place = own.batch_axis - own.ndim
    if -place <= len(repeats) and repeats[place] != 1:
        return CUT
    return on_values(call, lambda out: out.dim() + place)


@rule("pad")
def pad(call: Call) -> Any:
    own = call.arg(0, "input")
    padded_axes = range(own.ndim - (len(call.arg(1, "pad")) + 1) // 2, own.ndim)
    if own.batch_axis in padded_axes or (call.arg(2, "mode", "constant") != "constant" and own.batch_axis != 0):
        return CUT
    return on_values(call, own.batch_axis)


@rule("contiguous")
def contiguous(call: Call) -> Any:
    own = call.args[0]
    return certain(own, on_values(call, own.batch_axis))


@rule("getitem")
def getitem(call: Call) -> Any:
    own, given = call.args[0], call.args[1]
    if not isinstance(own, Folded):
        return Why("an ordinary tensor is indexed with a Folded")
    place = getitem_place(own, given)
    return Why("it chooses samples, or rows of each sample") if place is None else on_values(call, place)


@rule("setitem_")
def setitem(call: Call) -> Any:
    own, given, value = call.args
    if not isinstance(own, Folded):
        return Why("an ordinary tensor is written to")
    if own.num_samples == 0:
        return call.mapped(plain).run()  # what torch refuses is refused; there is nothing to change
    loans.check_writing(own.values)
    if isinstance(given, Folded) and not isinstance(value, (Tensor, TensorLike)):
        if given.dtype == torch.bool and given.index is own.index and given.batch_axis == own.batch_axis:
            own.values[given.values] = value
            return None
        return Why("its index belongs to other rows")
    place = getitem_place(own, given)
    if place is None:
        return Why("it writes to chosen samples")
    target = own.values[given]
    if isinstance(value, Folded):
        if value.index is not own.index or value.batch_axis - value.ndim != place - target.dim():
            return Why("the value has another index")
        value = value.values
    elif isinstance(value, Tensor):
        where = place - target.dim()
        if -where <= value.dim() and value.shape[where] != 1:
            return Why("the value is per sample")
    own.values[given] = value
    return None


def getitem_place(own: Folded, given: Any) -> int | None:
    """Where the batch axis is after indexing, or None where samples are chosen.

    Slices and whole numbers act on one axis each; tensors and lists of numbers together give one run of axes, which is
    where the first of them stands, or in front where something stands between them.
    """
    items = list(given) if isinstance(given, tuple) else [given]
    if any(isinstance(item, (TensorLike, bool)) for item in items):
        return None
    taken = sum(item is not None and item is not Ellipsis for item in items)
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (own.ndim - taken)
    else:
        items += [slice(None)] * (own.ndim - taken)
    axis, out, place = 0, 0, None
    chosen: list[tuple[int, int]] = []  # position among what is left of the axes, axes of the index
    for item in items:
        if item is None:
            out += 1
            continue
        if axis == own.batch_axis:
            if not (isinstance(item, slice) and item == slice(None)):
                return None
            place = out
        if isinstance(item, slice):
            out += 1
        elif isinstance(item, int):
            pass
        else:
            width = _index_axes(item)
            if width is None:
                return None
            chosen.append((out, width))
            out += 1
        axis += 1
    if place is None or not chosen:
        return place
    return _after_chosen(place, chosen)


def _after_chosen(place: int, chosen: list[tuple[int, int]]) -> int:
    positions = [position for position, _ in chosen]
    width = max(width for _, width in chosen)
    together = positions == list(range(positions[0], positions[0] + len(positions)))
    gone = sum(position < place for position in positions)
    if together and positions[0] > place:
        return place
    return place - gone + width


def _index_axes(item: Any) -> int | None:
    """Axes of an index; None for one that this does not know (masks)."""
    if isinstance(item, Tensor):
        return None if item.dtype in (torch.bool, torch.uint8) else item.dim()
    if isinstance(item, (list, tuple, range)) and all(isinstance(number, int) for number in item):
        return None if any(isinstance(number, bool) for number in item) else 1
    return None


def _valid(ndim: int, axes: Any) -> bool:
    """Whether axes are there and named once; torch refuses them otherwise."""
    return all(-ndim <= axis < ndim for axis in axes) and len({axis % ndim for axis in axes}) == len(axes)


def certain(own: Folded, out: Folded) -> Folded:
    """What torch gives as a view or as a copy, as the tensor lies in memory: a single row lies otherwise than many.

    Where that differs from the ordinary tensor's, the two are copies of which neither may be changed in place.
    """
    if own.num_distinct == own.num_samples or min(own.num_distinct, own.num_samples) > 1:
        return out
    if loans.share_memory(own.values, out.values):
        out = Folded(out.values.clone(), out.index, out.batch_axis)
    own.lend(out.values)
    out.lend(own.values)
    return out


def _flattened(shape: torch.Size, start: int, end: int) -> list[int]:
    if not shape:
        return [1]
    start, end = start % len(shape), end % len(shape)
    return [*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]]


def _listed(call: Call, position: int, name: str) -> list[int]:
    """Sizes given one by one or as one list."""
    given = call.args[position:]
    if not given:
        given = (call.kwargs.get(name, call.kwargs.get("size")),)
    return list(sequence_of(given[0])) if len(given) == 1 else list(given)
