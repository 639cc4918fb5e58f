"""Functions of one entry each: their operands broadcast, so every row depends on its own row only."""

from typing import Any

from torch import Tensor

from recfold.batch.folded import loans
from recfold.batch.folded.align import on_values, per_sample, row_wise, under
from recfold.batch.folded.dispatch import Call, Why, rule
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.names import IN_PLACE, NAMES, POINTWISE
from recfold.batch.folded.tensor_like import plain
from recfold.spec import InputError


@rule(*POINTWISE)
def pointwise(call: Call) -> Any:
    if call.kwargs.get("inplace"):
        return in_place(call)
    return row_wise(call)


@rule("to", "type_as", "cpu", "cuda", "type")
def converted(call: Call) -> Any:
    """The first operand in another dtype or on another device, which the second may show."""
    own = call.args[0]
    if not isinstance(own, Folded) or (call.name == "type" and len(call.args) + len(call.kwargs) < 2):
        return Why("it only shows the dtype")
    values = call.mapped(lambda given: given.values if isinstance(given, Folded) else given).run()
    return Folded(values, own.index.to(values.device), own.batch_axis)


@rule("prelu")
def prelu(call: Call) -> Any:
    own, weight = call.arg(0, "input"), call.arg(1, "weight")
    if isinstance(weight, Folded) or (weight.numel() > 1 and own.batch_axis == 1):
        return Why("its weights lie along the batch axis")
    return on_values(call, own.batch_axis)


@rule(*(f"{name}_" for name in POINTWISE if f"{name}_" in NAMES.values()), "copy_", "fill_", "zero_")
def in_place(call: Call) -> Any:
    """Changes the distinct rows, where every sample that shares a row is to change alike."""
    own = call.args[0]
    if not isinstance(own, Folded):
        return Why("an ordinary tensor is written to")
    loans.check_writing(own.values)
    if own.num_samples == 0:
        call.mapped(plain).run()  # what torch refuses is refused; there is nothing to change
        return own
    place = own.batch_axis - own.ndim
    for other in call.operands()[1:]:
        if isinstance(other, Folded):
            if other.batch_axis - other.ndim != place:
                return Why("operands have the batch on different axes")
            if other.index is not own.index:
                return Why("the other operand has another index")
        elif per_sample(other, place, own.num_samples):
            return Why("an operand is per sample")
    call.mapped(lambda given: _rows(given, own, place)).run()
    return own


def _rows(given: Any, own: Folded, place: int) -> Tensor:
    if isinstance(given, Folded):
        return under(given, own.index)
    if -place <= given.dim() and given.shape[place] != 1:
        return given.narrow(place, 0, 1)
    return given


_FILLED_AT_RANDOM = (
    "uniform_",
    "normal_",
    "bernoulli_",
    "exponential_",
    "random_",
    "log_normal_",
    "geometric_",
    "cauchy_",
)


@rule(*_FILLED_AT_RANDOM, *(IN_PLACE & {"resize_", "set_", "transpose_", "t_", "swapaxes_", "swapdims_"}))
def refused(call: Call) -> Any:
    raise InputError(
        f"{call.name} cannot change a Folded tensor",
        got=f"{call.args[0].num_distinct} distinct rows for {call.args[0].num_samples} samples"
        if isinstance(call.args[0], Folded)
        else None,
        todo="call .unfold() first",
    )
