"""Whole layers: normalisation, convolutions, recurrent layers, embeddings."""

from typing import Any

import torch
from torch import Tensor

from recfold.batch.folded.align import on_values
from recfold.batch.folded.dispatch import Call, Why, rule
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.random import draws_masks


@rule("layer_norm", "rms_norm")
def layer_norm(call: Call) -> Any:
    own, shape = call.arg(0, "input"), call.arg(1, "normalized_shape")
    if not isinstance(own, Folded) or own.batch_axis >= own.ndim - len(shape):
        return Why("it normalises along the batch axis")
    return on_values(call, own.batch_axis)


@rule("group_norm")
def group_norm(call: Call) -> Any:
    own, groups, eps = call.arg(0, "input"), call.arg(1, "num_groups"), call.arg(4, "eps", 1e-5)
    if not isinstance(own, Folded) or own.batch_axis != 0:
        return Why("its batch is not axis 0")
    if own.shape.numel() // groups <= 1:
        return Why("the ordinary function refuses a single value")
    values = torch.group_norm(own.values, groups, call.arg(2, "weight"), call.arg(3, "bias"), eps)
    return Folded(values, own.index, 0)


@rule("instance_norm")
def instance_norm(call: Call) -> Any:
    own, running = call.arg(0, "input"), call.arg(1, "running_mean")
    if not isinstance(own, Folded) or own.batch_axis != 0 or running is not None:
        return Why("it keeps statistics over the batch")
    return on_values(call, 0)


@rule("batch_norm")
def batch_norm(call: Call) -> Any:
    """Statistics over samples from distinct rows: each row counts as often as it is used.

    Formula: mean = sum of c_u x_u / n, variance = sum of c_u (x_u - mean)^2 / n, n = sum of c_u times the positions of
    a row; the running variance gets n / (n - 1) of it, as over the whole batch.
    """
    own = call.arg(0, "input")
    if not isinstance(own, Folded) or own.batch_axis != 0 or own.ndim < 2:
        return Why("its batch is not axis 0")
    running_mean, running_var = call.arg(1, "running_mean"), call.arg(2, "running_var")
    weight, bias = call.arg(3, "weight"), call.arg(4, "bias")
    training, momentum, eps = call.arg(5, "training", False), call.arg(6, "momentum", 0.1), call.arg(7, "eps", 1e-5)
    if not training:
        return on_values(call, 0)
    num = own.num_samples * own.shape[2:].numel()
    if num <= 1:
        return Why("the ordinary function refuses a single value")
    if any(given is not None and given.numel() != own.shape[1] for given in (running_mean, running_var, weight, bias)):
        return Why("the ordinary function refuses wrong widths")
    whole = own.values.dtype in (torch.float32, torch.float64)
    if whole and any(given is not None and given.dtype != own.values.dtype for given in (running_mean, weight, bias)):
        return Why("the ordinary function refuses mixed dtypes")
    values = own.values if own.values.dtype in (torch.float32, torch.float64) else own.values.float()
    columns = (1, -1, *(1,) * (own.ndim - 2))
    rest = tuple(axis for axis in range(own.ndim) if axis != 1)
    share_U = (own.index.counts(values.device).to(values.dtype) / num).view(-1, *(1,) * (own.ndim - 1))
    mean_C = (values * share_U).sum(rest)
    centred = values - mean_C.view(columns)
    var_C = (centred.square() * share_U).sum(rest)
    if running_mean is not None:
        with torch.no_grad():
            running_mean.lerp_(mean_C.detach().to(running_mean.dtype), momentum)
            running_var.lerp_((var_C.detach() * (num / (num - 1))).to(running_var.dtype), momentum)
    out = centred * torch.rsqrt(var_C + eps).view(columns)
    if weight is not None:
        out = out * weight.view(columns)
    if bias is not None:
        out = out + bias.view(columns)
    return Folded(out.to(own.values.dtype), own.index, 0)


_SPATIAL = {
    **{f"conv{n}d": n for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": n for n in (1, 2)},
    **{f"{kind}_pool{n}d": n for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for n in (1, 2)},
}


@rule(*_SPATIAL)
def over_positions(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, Folded) or (
        len(call.operands()) > 1 and any(isinstance(o, Folded) for o in call.operands()[1:])
    ):
        return Why("its weights are folded")
    if own.batch_axis != 0 or own.ndim != _SPATIAL[call.name or ""] + 2:
        return Why("its batch is not axis 0")
    return on_values(call, 0)


@rule("embedding")
def embedding(call: Call) -> Any:
    ids, weight = call.arg(0, "input"), call.arg(1, "weight")
    if not isinstance(ids, Folded) or isinstance(weight, Folded):
        return Why("its table is folded")
    if call.arg(5, "scale_grad_by_freq", False) or call.arg(3, "max_norm") is not None:
        return Why("it looks at all samples")
    return on_values(call, ids.batch_axis)


@rule("one_hot")
def one_hot(call: Call) -> Any:
    own = call.arg(0, "input", call.kwargs.get("tensor"))
    if call.arg(1, "num_classes", -1) < 1:
        return Why("the number of classes is not given")
    return on_values(call, own.batch_axis)


@rule("gru", "lstm", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Any:
    """A recurrent layer that starts from zeros."""
    if len(call.args) != 9 or not isinstance(call.args[0], Folded):
        return Why("its input is packed")
    own, state, weights, bias, layers, dropout, training, both, batch_first = call.args
    states = list(state) if isinstance(state, (list, tuple)) else [state]
    if own.ndim != 3 or own.batch_axis != (0 if batch_first else 1):
        return Why("its batch is on another axis")
    if dropout > 0 and training and draws_masks():
        return Why("it draws random numbers")
    if any(not isinstance(part, Tensor) or bool(part.any()) or part.requires_grad for part in states):
        return Why("its first state is per sample")
    zeros = [part.new_zeros(part.shape[0], own.num_distinct, part.shape[2]) for part in states]
    first = zeros if isinstance(state, (list, tuple)) else zeros[0]
    output, *last = call.func(own.values, first, weights, bias, layers, dropout, training, both, batch_first)
    return (Folded(output, own.index, own.batch_axis), *(Folded(part, own.index, 1) for part in last))


@rule("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor")
def new(call: Call) -> Any:
    """An ordinary tensor of the dtype and on the device of a Folded."""
    own = call.args[0]
    if not isinstance(own, Folded):
        return Why("its contents are folded")
    return call.mapped(lambda given: given.values if given is own else given).run()


@rule("is_floating_point", "is_complex", "is_signed", "can_cast", "result_type")
def asked(call: Call) -> Any:
    """Questions that the values answer."""
    return call.mapped(lambda given: given.values if isinstance(given, Folded) else given).run()


@rule("numel")
def numel(call: Call) -> Any:
    return call.args[0].numel()
