"""Steps of random programs: axes arranged, rows and columns chosen, tensors joined."""

from typing import Any

import torch
from folded_programs import NoStep, Program, Twin, drawn_index, operation
from torch.nn import functional


@operation(12)
def arrange(p: Program) -> None:
    own = p.pick()
    ndim = own.ndim
    first, second, new = p.axis(ndim), p.axis(ndim), p.axis(ndim + 1)
    order = p.rng.sample(range(ndim), ndim)
    shape = reshaped(p, own.shape)
    wide = [
        *[p.rng.choice([1, 2])] * p.rng.randrange(2),
        *[p.rng.choice([size, -1]) if size != 1 else 2 for size in own.shape],
    ]
    times = [p.rng.choice([1, 1, 2]) for _ in range(ndim + p.rng.randrange(2))]
    functions: list[Any] = [
        lambda x: x.transpose(first, second), lambda x: torch.swapaxes(x, first, second), lambda x: x.permute(order),
        lambda x: x.permute(*order), lambda x: x.movedim(first, second), lambda x: x.unsqueeze(new),
        lambda x: x.squeeze(first),
        lambda x: x.squeeze(), lambda x: x.reshape(shape), lambda x: x.reshape(*shape), lambda x: x.view(shape),
        lambda x: x.view(*shape),
        lambda x: torch.flatten(x, *sorted((first % max(ndim, 1), second % max(ndim, 1)))), lambda x: x.flatten(1),
        lambda x: x.unflatten(first, (-1, 1)),
        lambda x: x.unflatten(first, (1, x.shape[first])), lambda x: x.expand(wide), lambda x: x.expand(*wide),
        lambda x: x.repeat(*times),
        lambda x: x.tile(times), lambda x: functional.pad(x, (1, 1)),
        lambda x: functional.pad(x, (0, 0, 1, 0), value=2.0), lambda x: x.T,
        lambda x: x.mT, lambda x: x.t(), lambda x: torch.permute(x, dims=tuple(order)),
        lambda x: x.squeeze((first, second)),
        lambda x: x.view_as(x), lambda x: torch.reshape(input=x, shape=shape),
        lambda x: x.moveaxis([first, second], [second, first]), lambda x: x.ravel(),
        lambda x: x.transpose(first, second).contiguous(), lambda x: x.transpose(0, 1).reshape(x.shape[1], -1),
        lambda x: torch.atleast_2d(x),
        lambda x: x.broadcast_to(tuple(x.shape)), lambda x: x.transpose(dim0=first, dim1=second),
        lambda x: torch.diagonal(x),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"arrange {chosen} {first} {second} {new} {order} {shape} {wide} {times}", functions[chosen], own)


def reshaped(p: Program, shape: torch.Size) -> list[int]:
    """Axes merged or split, with ones put in, and a -1 at times."""
    out: list[int] = []
    for size in shape:
        if out and p.rng.random() < 0.3:
            out[-1] *= size
        elif size in (4, 6) and p.rng.random() < 0.4:
            out += [2, size // 2] if p.rng.random() < 0.5 else [size // 2, 2]
        else:
            out.append(size)
    if p.rng.random() < 0.2:
        out.insert(p.rng.randrange(len(out) + 1), 1)
    if p.rng.random() < 0.15:
        p.rng.shuffle(out)
    if out and p.rng.random() < 0.4:
        out[p.rng.randrange(len(out))] = -1
    return out


@operation(6)
def take(p: Program) -> None:
    own = p.pick()
    given = drawn_index(p, own.shape)
    p.run(f"getitem {given}", lambda x: x[given], own)


@operation(1)
def take_by_twin(p: Program) -> None:
    own = p.pick(lambda twin: twin.ndim > 0)
    mask = p.pick(lambda twin: twin.plain.dtype == torch.bool and twin.shape == own.shape[: twin.ndim])
    p.run("getitem twin", lambda x, m: x[m], own, mask)


@operation(2)
def take_by_ids(p: Program) -> None:
    """Rows that another tensor's entries name."""
    own = p.pick(lambda twin: twin.ndim > 0 and twin.shape[0] > 0)
    by, size = p.real(), own.shape[0]
    functions: list[Any] = [
        lambda x, y: x[(y > 0.0).long() % size], lambda x, y: x[..., (y > 0.0).long() % x.shape[-1]],
        lambda x, y: x[None, (y > 0.0).long() % size],
        lambda x, y: torch.index_select(x, 0, (y > 0.0).long() % size),
        lambda x, y: torch.gather(x, 0, (y > 0.0).long() % size),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    if own.plain.numel() * by.plain.numel() > 20_000:
        raise NoStep
    p.run(f"by ids {chosen}", functions[chosen], own, by)


@operation(10)
def join(p: Program) -> None:
    first = p.real(lambda twin: twin.ndim > 0)
    axis = p.rng.randrange(-first.ndim, first.ndim)
    parts = [first]
    for _ in range(p.rng.choice([1, 1, 2, 3])):
        try:
            parts.append(p.pick(lambda twin: joins(twin, first, axis) or p.rng.random() < 0.01, folded=0.6))
        except NoStep:
            parts.append(p.plain_of(tuple(first.shape)))
    p.rng.shuffle(parts)
    functions: list[Any] = [lambda *own: torch.cat(own, axis), lambda *own: torch.concat(tuple(own), dim=axis)]
    if all(part.shape == first.shape for part in parts):
        functions += [
            lambda *own: torch.stack(own, axis),
            lambda *own: torch.stack(own, dim=1),
            lambda *own: torch.hstack(own),
        ]
    chosen = p.rng.randrange(len(functions))
    p.run(f"join {chosen} {axis}", functions[chosen], *parts)


def joins(twin: Twin, first: Twin, axis: int) -> bool:
    axis %= first.ndim
    return twin.ndim == first.ndim and all(
        a == b for at, (a, b) in enumerate(zip(twin.shape, first.shape, strict=True)) if at != axis
    )
