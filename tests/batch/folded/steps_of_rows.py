"""Steps of random programs: entry by entry, and along given axes."""

import operator
from typing import Any

import torch
from folded_programs import Program, fits, operand_shape, operation, tilted
from torch import nn
from torch.nn import functional

UNARY = [
    torch.tanh, torch.sigmoid, torch.relu, torch.sin, torch.abs, torch.neg, operator.neg, functional.gelu,
    functional.softplus, functional.silu, torch.atan, functional.hardtanh, torch.erf, torch.square, torch.clone,
    lambda x: x.clamp(-1.0, 1.0), lambda x: x.clip(min=-0.5), lambda x: functional.leaky_relu(x, 0.1), torch.sign,
    lambda x: x.contiguous(), lambda x: x.double(), lambda x: x.to(dtype=torch.float64),
    lambda x: 1.0 - x, lambda x: 2.0 / (x.abs() + 1.0), lambda x: x * 0.5, lambda x: x ** 2,
    lambda x: 0.5 ** x.clamp(max=2.0),
    lambda x: x.detach(), torch.zeros_like, torch.ones_like, lambda x: torch.full_like(x, 0.5), lambda x: x.new_ones(2),
    lambda x: x > 0.0, lambda x: x.isnan(), lambda x: (x < 0.1) | (x > 0.7), lambda x: ~(x > 0.3),
    lambda x: x.nan_to_num(),
    lambda x: torch.where(x > 0.0, x, 0.0), lambda x: x.masked_fill(x > 0.5, -1.0), lambda x: nn.functional.elu(x, 0.5),
    lambda x: functional.dropout(x, 0.5, False), lambda x: functional.logsigmoid(x),
    lambda x: torch.float_power(x.abs(), 2),
    lambda x: x.type_as(x), lambda x: torch.clamp(input=x, max=1.0), lambda x: abs(x),
    lambda x: +x if False else x.positive(),
]  # fmt: skip
BINARY = [
    torch.add, torch.sub, torch.mul, operator.add, operator.mul, operator.sub, torch.maximum, torch.minimum,
    lambda x, y: torch.where(x > 0.1, x, y), lambda x, y: x / (y.abs() + 1.0), lambda x, y: torch.lerp(x, y, 0.3),
    lambda x, y: torch.add(x, y, alpha=2.0), lambda x, y: torch.rsub(x, y), torch.atan2,
    lambda x, y: x.masked_fill(y > 0.2, 0.5), lambda x, y: torch.clamp(x, min=y),
    lambda x, y: (x * x + y * y + 0.1).sqrt(),
    torch.fmax,
    lambda x, y: x.add(other=y), lambda x, y: x > y, lambda x, y: functional.mse_loss(x, y, reduction="none"),
    lambda x, y: torch.addcmul(x, y, y, value=0.5),
    lambda x, y: torch.where(y > 0.0, x, torch.zeros((), dtype=torch.float64)),
    lambda x, y: torch.broadcast_tensors(x, y), lambda x, y: x.expand_as(y),
    lambda x, y: functional.cosine_similarity(x, y, -1, 1e-3),
    lambda x, y: torch.isclose(x, y), lambda x, y: torch.cosine_similarity(x, y, dim=1, eps=1e-3),
]  # fmt: skip


@operation(6)
def unary(p: Program) -> None:
    chosen = p.rng.randrange(len(UNARY))
    p.run(f"unary {chosen}", UNARY[chosen], p.real())


@operation(1)
def converted(p: Program) -> None:
    functions: list[Any] = [
        lambda x: x.float(), lambda x: x.to(torch.float32).to(torch.float64), lambda x: x.type(torch.float32),
        lambda x: x.to(torch.zeros(1)),
        lambda x: x.type_as(torch.zeros(1)) + torch.ones(1), lambda x: x.long(), lambda x: (x * 3).int(),
        lambda x: x.bool(),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"float32 {chosen}", functions[chosen], p.real())


@operation(12)
def binary(p: Program) -> None:
    """Operands of any shapes now and then, of fitting ones mostly."""
    first = p.real()
    if p.rng.random() < 0.4:
        p.plain_of(operand_shape(p, first))
        second = p.pool[-1]
    elif p.rng.random() < 0.9:
        second = p.real(lambda twin: fits(first, twin))
    else:
        second = p.real()
    chosen = p.rng.randrange(len(BINARY))
    order = (first, second) if p.rng.random() < 0.6 else (second, first)
    p.run(f"binary {chosen}", BINARY[chosen], *order)


@operation(5)
def reduce(p: Program) -> None:
    own = p.real(lambda twin: twin.ndim > 0)
    axis, keep = p.axis(own.ndim), p.rng.random() < 0.4
    several = sorted(p.rng.sample(range(own.ndim), p.rng.randrange(1, own.ndim + 1)))
    functions: list[Any] = [
        lambda x: x.sum(axis, keepdim=keep), lambda x: torch.mean(x, dim=axis, keepdim=keep), lambda x: x.sum(several),
        lambda x: torch.amax(x, several, keep), lambda x: tilted(x, axis).max(axis),
        lambda x: torch.min(tilted(x, axis), dim=axis, keepdim=keep),
        lambda x: tilted(x, axis).argmax(axis), lambda x: torch.logsumexp(x, several),
        lambda x: x.var(axis, unbiased=False, keepdim=keep),
        lambda x: x.norm(dim=axis), lambda x: torch.linalg.vector_norm(x, 2, axis), lambda x: (x > 0).any(axis),
        lambda x: (x > 0).all(axis, keep), lambda x: x.sum(), lambda x: x.mean(), lambda x: x.prod(axis),
        lambda x: torch.count_nonzero(x > 0.0, dim=axis), lambda x: tilted(x, axis).median(axis, keep),
        lambda x: x.std(several, correction=0),
        lambda x: torch.aminmax(x, dim=axis), lambda x: tilted(x, axis).kthvalue(1, axis),
        lambda x: torch.nansum(x, axis),
        lambda x: x.max(),
        lambda x: torch.sum(x, (axis,), dtype=torch.float32), lambda x: x.mean(several, keep), lambda x: x.sum(()),
        lambda x: torch.var_mean(x, dim=several, correction=0, keepdim=keep),
        lambda x: x.sum(axis=axis),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"reduce {chosen} {axis} {several} {keep}", functions[chosen], own)


@operation(5)
def along(p: Program) -> None:
    own = p.real(lambda twin: twin.ndim > 0)
    axis, size = p.axis(own.ndim), p.rng.choice([1, 2, 3])
    functions: list[Any] = [
        lambda x: functional.softmax(x, axis), lambda x: x.log_softmax(dim=axis), lambda x: x.cumsum(axis),
        lambda x: torch.sort(tilted(x, axis), dim=axis, descending=True)[0], lambda x: tilted(x, axis).sort(axis),
        lambda x: tilted(x, axis).topk(1, axis),
        lambda x: x.flip(axis), lambda x: torch.flip(x, (axis, )), lambda x: x.roll(size, axis), lambda x: x.roll(1),
        lambda x: tilted(x, axis).cummax(axis), lambda x: tilted(x, axis).argsort(axis),
        lambda x: functional.normalize(x, dim=axis, eps=1e-3),
        lambda x: x.diff(dim=axis), lambda x: x.repeat_interleave(2, axis), lambda x: torch.repeat_interleave(x, 2),
        lambda x: functional.glu(x, axis), lambda x: x.split(size, axis), lambda x: torch.chunk(x, size, dim=axis),
        lambda x: torch.tensor_split(x, size, dim=axis), lambda x: x.unbind(axis), lambda x: list(x),
        lambda x: x.narrow(axis, 0, 1), lambda x: x.select(axis, -1), lambda x: torch.cumprod(x, dim=axis),
        lambda x: x.index_select(axis, torch.tensor([0, 0, x.shape[axis] - 1])), lambda x: x.tensor_split((1, 2), axis),
        lambda x: x.gather(axis, tilted(x, axis).argsort(axis)),
        lambda x: torch.take_along_dim(x, tilted(x, axis).argsort(axis), axis),
        lambda x: torch.split(x, [1, x.shape[axis] - 1], axis), lambda x: torch.logcumsumexp(x, axis),
        lambda x: x.unfold(axis, 1, 1),
        lambda x: x.diff(n=1, dim=axis, prepend=x.narrow(axis, 0, 1)), lambda x: functional.softmin(x, dim=axis),
        lambda x: x.hsplit(1),
        lambda x: x.gather(axis, torch.zeros_like(x, dtype=torch.int64)), lambda x: torch.triu(x),
        lambda x: torch.unbind(input=x, dim=axis),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"along {chosen} {axis} {size}", functions[chosen], own)
