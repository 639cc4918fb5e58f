"""Steps of random programs that change tensors in place, views of them outstanding or not."""

import operator
from typing import Any

from folded_programs import NoStep, Program, Stop, Twin, drawn_index, fits, operand_shape, operation
from torch import nn
from torch.nn import functional

IN_PLACE: list[Any] = [
    lambda x: x.mul_(0.5), lambda x: x.add_(1.0), lambda x: x.zero_(), lambda x: x.fill_(0.3), lambda x: x.relu_(),
    lambda x: functional.relu(x, inplace=True), lambda x: functional.leaky_relu(x, 0.1, True),
    lambda x: x.clamp_(-0.5, 0.5),
    lambda x: operator.iadd(x, 1.0), lambda x: operator.imul(x, 0.5), lambda x: x.tanh_(),
    lambda x: functional.hardtanh(x, -1.0, 1.0, True),
    lambda x: x.masked_fill_(x > 0.2, 0.1), lambda x: functional.dropout(x, 0.2, False, True),
    lambda x: functional.elu(x, 0.5, True),
    lambda x: nn.functional.selu(x, True), lambda x: x.transpose_(0, 1) if x.dim() > 1 else x,
    lambda x: x.unsqueeze_(0), lambda x: x.cumsum_(-1),
]  # fmt: skip
IN_PLACE_TWO: list[Any] = [
    lambda x, y: x.add_(y), lambda x, y: x.mul_(y), operator.iadd, operator.isub, lambda x, y: x.copy_(y),
    lambda x, y: x.addcmul_(y, y), lambda x, y: x.masked_fill_(y > 0.2, 0.1),
    lambda x, y: x.sub_(y),
]  # fmt: skip


@operation(3)
def change(p: Program) -> None:
    if not p.writes:
        raise NoStep
    own = p.real(lambda twin: twin.plain.grad_fn is not None)
    chosen = p.rng.randrange(len(IN_PLACE))
    p.run(f"in place {chosen}", IN_PLACE[chosen], own, writes=True)


@operation(3)
def change_by(p: Program) -> None:
    if not p.writes:
        raise NoStep
    own = p.real(lambda twin: twin.plain.grad_fn is not None)
    other = (
        p.plain_of(operand_shape(p, own)) if p.rng.random() < 0.5 else p.real(lambda twin: fits(own, twin), folded=0.6)
    )
    chosen = p.rng.randrange(len(IN_PLACE_TWO))
    p.run(f"in place by {chosen}", IN_PLACE_TWO[chosen], own, other, writes=True)


@operation(4)
def assign(p: Program) -> None:
    if not p.writes:
        raise NoStep
    own = p.real(lambda twin: twin.plain.grad_fn is not None)
    given = drawn_index(p, own.shape, simple=p.rng.random() < 0.8)

    def written(x: Any, value: Any) -> Any:
        x[given] = value
        return x

    try:
        target = own.plain[given]
    except Exception:
        raise NoStep from None
    if p.rng.random() < 0.4:
        p.run(f"setitem {given} = 0.7", lambda x: written(x, 0.7), own, writes=True)
    elif p.rng.random() < 0.5:
        p.run(f"setitem {given}", written, own, p.plain_of(operand_shape(p, Twin(None, target))), writes=True)
    else:
        p.run(f"setitem {given}", written, own, p.real(lambda twin: fits(Twin(None, target), twin)), writes=True)


@operation(1)
def assign_masked(p: Program) -> None:
    if not p.writes:
        raise NoStep
    own = p.real(lambda twin: twin.plain.grad_fn is not None)

    def written(x: Any) -> Any:
        x[x > 0.3] = 0.0
        return x

    p.run("setitem mask", written, own, writes=True)


@operation(2)
def view_then_change(p: Program) -> None:
    """Views outstanding: what is written to one is seen in the other."""
    if not p.writes:
        raise NoStep
    own = p.real(lambda twin: twin.plain.grad_fn is not None and twin.ndim > 0)
    axis = p.rng.randrange(own.ndim)
    views: list[Any] = [
        lambda x: x[..., :1], lambda x: x[:1], lambda x: x.transpose(0, -1), lambda x: x.select(axis, 0),
        lambda x: x.flatten(),
        lambda x: x.unsqueeze(0), lambda x: x.detach(), lambda x: x.contiguous(), lambda x: x.double(),
        lambda x: x.reshape(-1),
        lambda x: x.split(1, axis)[0], lambda x: x.transpose(0, -1).contiguous(),
        lambda x: x.transpose(0, -1).reshape(-1), lambda x: x.T.squeeze(),
        lambda x: x.unbind(axis)[0], lambda x: x.narrow(axis, 0, 1), lambda x: x.view(-1), lambda x: x.diagonal(),
        lambda x: x.expand(1, *x.shape),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(views))
    taken = p.run(f"view {chosen} {axis}", views[chosen], own)
    if not taken:
        raise NoStep
    for _ in range(p.rng.randrange(3)):
        p.step()
    target = p.rng.choice([own, taken[0]])
    if target.plain.is_leaf and target.plain.requires_grad:
        raise Stop
    p.run("then changed", p.rng.choice(IN_PLACE[:6]), target, writes=True)
