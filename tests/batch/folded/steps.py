"""The operations that random programs are made of; each draws its operands and arguments and runs both sides."""

import operator
from typing import Any

import torch
from folded_programs import NoStep, Program, Stop, Twin, operation
from torch import nn
from torch.nn import functional

UNARY = [
    torch.tanh, torch.sigmoid, torch.relu, torch.sin, torch.abs, torch.neg, operator.neg, functional.gelu,
    functional.softplus, functional.silu, torch.atan, functional.hardtanh, torch.erf, torch.square, torch.clone,
    lambda x: x.clamp(-1.0, 1.0), lambda x: x.clip(min=-0.5), lambda x: functional.leaky_relu(x, 0.1), torch.sign,
    lambda x: x.contiguous(), lambda x: x.double(), lambda x: x.to(dtype=torch.float64),
    lambda x: 1.0 - x, lambda x: 2.0 / (x.abs() + 1.0), lambda x: x * 0.5, lambda x: x ** 2, lambda x: 0.5 ** x.clamp(max=2.0),
    lambda x: x.detach(), torch.zeros_like, torch.ones_like, lambda x: torch.full_like(x, 0.5), lambda x: x.new_ones(2),
    lambda x: x > 0.0, lambda x: x.isnan(), lambda x: (x < 0.1) | (x > 0.7), lambda x: ~(x > 0.3), lambda x: x.nan_to_num(),
    lambda x: torch.where(x > 0.0, x, 0.0), lambda x: x.masked_fill(x > 0.5, -1.0), lambda x: nn.functional.elu(x, 0.5),
    lambda x: functional.dropout(x, 0.5, False), lambda x: functional.logsigmoid(x), lambda x: torch.float_power(x.abs(), 2),
    lambda x: x.type_as(x), lambda x: torch.clamp(input=x, max=1.0), lambda x: abs(x), lambda x: +x if False else x.positive(),
]  # fmt: skip
BINARY = [
    torch.add, torch.sub, torch.mul, operator.add, operator.mul, operator.sub, torch.maximum, torch.minimum,
    lambda x, y: torch.where(x > 0.1, x, y), lambda x, y: x / (y.abs() + 1.0), lambda x, y: torch.lerp(x, y, 0.3),
    lambda x, y: torch.add(x, y, alpha=2.0), lambda x, y: x.rsub(y) if hasattr(x, "rsub") else y - x, torch.atan2,
    lambda x, y: x.masked_fill(y > 0.2, 0.5), lambda x, y: torch.clamp(x, min=y), torch.hypot, torch.dist if False else torch.fmax,
    lambda x, y: x.add(other=y), lambda x, y: x > y, lambda x, y: functional.mse_loss(x, y, reduction="none"),
    lambda x, y: torch.addcmul(x, y, y, value=0.5), lambda x, y: torch.where(y > 0.0, x, torch.zeros((), dtype=torch.float64)),
    lambda x, y: torch.broadcast_tensors(x, y), lambda x, y: x.expand_as(y), lambda x, y: functional.cosine_similarity(x, y, -1, 1e-3),
    lambda x, y: torch.allclose(x, y) and x, lambda x, y: torch.cosine_similarity(x, y, dim=1, eps=1e-3),
]  # fmt: skip


@operation(6)
def unary(p: Program) -> None:
    chosen = p.rng.randrange(len(UNARY))
    p.run(f"unary {chosen}", UNARY[chosen], p.real())


@operation(1)
def converted(p: Program) -> None:
    functions: list[Any] = [
        lambda x: x.float(), lambda x: x.to(torch.float32).to(torch.float64), lambda x: x.type(torch.float32), lambda x: x.to(torch.zeros(1)),
        lambda x: x.type_as(torch.zeros(1)) + torch.ones(1), lambda x: x.long(), lambda x: (x * 3).int(), lambda x: x.bool(),
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


def operand_shape(p: Program, to: Twin) -> tuple[int, ...]:
    """The shape of an operand that broadcasts with another; leading axes more or fewer."""
    shape = [size if p.rng.random() < 0.6 else 1 for size in to.shape]
    cut = p.rng.randrange(len(shape) + 1) if p.rng.random() < 0.5 else 0
    extra = [p.rng.choice([1, 2, max(1, p.num_samples)])] if p.rng.random() < 0.2 and cut == 0 else []
    return (*extra, *shape[cut:])


def fits(first: Twin, second: Twin) -> bool:
    try:
        return torch.broadcast_shapes(first.shape, second.shape).numel() <= 5000
    except RuntimeError:
        return False


@operation(5)
def reduce(p: Program) -> None:
    own = p.real(lambda twin: twin.ndim > 0)
    axis, keep = p.axis(own.ndim), p.rng.random() < 0.4
    several = sorted(p.rng.sample(range(own.ndim), p.rng.randrange(1, own.ndim + 1)))
    functions: list[Any] = [
        lambda x: x.sum(axis, keepdim=keep), lambda x: torch.mean(x, dim=axis, keepdim=keep), lambda x: x.sum(several),
        lambda x: torch.amax(x, several, keep), lambda x: x.max(axis), lambda x: torch.min(x, dim=axis, keepdim=keep),
        lambda x: x.argmax(axis), lambda x: torch.logsumexp(x, several), lambda x: x.var(axis, unbiased=False, keepdim=keep),
        lambda x: x.norm(dim=axis), lambda x: torch.linalg.vector_norm(x, 2, axis), lambda x: (x > 0).any(axis),
        lambda x: (x > 0).all(axis, keep), lambda x: x.sum(), lambda x: x.mean(), lambda x: x.prod(axis),
        lambda x: torch.count_nonzero(x > 0.0, dim=axis), lambda x: x.median(axis, keep), lambda x: x.std(several, correction=0),
        lambda x: torch.aminmax(x, dim=axis), lambda x: x.kthvalue(1, axis), lambda x: torch.nansum(x, axis), lambda x: x.max(),
        lambda x: torch.sum(x, (axis,), dtype=torch.float32), lambda x: x.mean(several, keep), lambda x: x.sum(()),
        lambda x: torch.var_mean(x, dim=several, correction=0, keepdim=keep), lambda x: x.numpy(force=True).sum(axis) is None or x.sum(axis),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"reduce {chosen} {axis} {several} {keep}", functions[chosen], own)


@operation(5)
def along(p: Program) -> None:
    own = p.real(lambda twin: twin.ndim > 0)
    axis, size = p.axis(own.ndim), p.rng.choice([1, 2, 3])
    functions: list[Any] = [
        lambda x: functional.softmax(x, axis), lambda x: x.log_softmax(dim=axis), lambda x: x.cumsum(axis),
        lambda x: torch.sort(x, dim=axis, descending=True)[0], lambda x: x.sort(axis), lambda x: x.topk(1, axis),
        lambda x: x.flip(axis), lambda x: torch.flip(x, (axis, )), lambda x: x.roll(size, axis), lambda x: x.roll(1),
        lambda x: x.cummax(axis), lambda x: x.argsort(axis), lambda x: functional.normalize(x, dim=axis, eps=1e-3),
        lambda x: x.diff(dim=axis), lambda x: x.repeat_interleave(2, axis), lambda x: torch.repeat_interleave(x, 2),
        lambda x: functional.glu(x, axis), lambda x: x.split(size, axis), lambda x: torch.chunk(x, size, dim=axis),
        lambda x: torch.tensor_split(x, size, dim=axis), lambda x: x.unbind(axis), lambda x: list(x),
        lambda x: x.narrow(axis, 0, 1), lambda x: x.select(axis, -1), lambda x: torch.cumprod(x, dim=axis),
        lambda x: x.index_select(axis, torch.tensor([0, 0, x.shape[axis] - 1])), lambda x: x.tensor_split((1, 2), axis),
        lambda x: x.gather(axis, x.argsort(axis)), lambda x: torch.take_along_dim(x, x.argsort(axis), axis),
        lambda x: torch.split(x, [1, x.shape[axis] - 1], axis), lambda x: torch.logcumsumexp(x, axis), lambda x: x.unfold(axis, 1, 1),
        lambda x: x.diff(n=1, dim=axis, prepend=x.narrow(axis, 0, 1)), lambda x: functional.softmin(x, dim=axis), lambda x: x.hsplit(1),
        lambda x: x.gather(axis, torch.zeros_like(x, dtype=torch.int64)), lambda x: torch.triu(x), lambda x: torch.unbind(input=x, dim=axis),
    ]  # fmt: skip
    chosen = p.rng.randrange(len(functions))
    p.run(f"along {chosen} {axis} {size}", functions[chosen], own)


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
        lambda x: x.permute(*order), lambda x: x.movedim(first, second), lambda x: x.unsqueeze(new), lambda x: x.squeeze(first),
        lambda x: x.squeeze(), lambda x: x.reshape(shape), lambda x: x.reshape(*shape), lambda x: x.view(shape), lambda x: x.view(*shape),
        lambda x: torch.flatten(x, *sorted((first % max(ndim, 1), second % max(ndim, 1)))), lambda x: x.flatten(1), lambda x: x.unflatten(first, (-1, 1)),
        lambda x: x.unflatten(first, (1, x.shape[first])), lambda x: x.expand(wide), lambda x: x.expand(*wide), lambda x: x.repeat(*times),
        lambda x: x.tile(times), lambda x: functional.pad(x, (1, 1)), lambda x: functional.pad(x, (0, 0, 1, 0), value=2.0), lambda x: x.T,
        lambda x: x.mT, lambda x: x.t(), lambda x: torch.permute(x, dims=tuple(order)), lambda x: x.squeeze((first, second)),
        lambda x: x.view_as(x), lambda x: torch.reshape(input=x, shape=shape), lambda x: x.moveaxis([first, second], [second, first]), lambda x: x.ravel(),
        lambda x: x.transpose(first, second).contiguous(), lambda x: x.transpose(0, 1).reshape(x.shape[1], -1), lambda x: torch.atleast_2d(x),
        lambda x: x.broadcast_to(tuple(x.shape)), lambda x: x.transpose(dim0=first, dim1=second), lambda x: torch.diagonal(x),
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


def drawn_index(p: Program, shape: torch.Size, *, simple: bool = False) -> Any:
    """What may stand in brackets."""
    items: list[Any] = []
    kinds = (
        ["all", "all", "all", "slice", "int"]
        if simple
        else ["all", "all", "all", "slice", "int", "list", "tensor", "mask", "wide"]
    )
    for size in shape[: p.rng.randrange(len(shape) + 1)]:
        kind = p.rng.choice(kinds)
        if kind == "all":
            items.append(slice(None))
        elif kind == "slice":
            items.append(
                p.rng.choice([slice(1, None), slice(None, -1), slice(0, 2), slice(None, None, 2), slice(0, size)])
            )
        elif kind == "mask":
            items.append(torch.tensor([p.rng.random() < 0.5 for _ in range(size)]))
        elif size == 0:
            items.append(slice(None))
        elif kind == "int":
            items.append(p.rng.randrange(-size, size))
        else:
            chosen = [p.rng.randrange(size) for _ in range(2)]
            items.append(chosen if kind == "list" else torch.tensor(chosen if kind == "tensor" else [chosen]))
    if p.rng.random() < 0.2:
        items.insert(p.rng.randrange(len(items) + 1), Ellipsis)
    if p.rng.random() < 0.2:
        items.insert(p.rng.randrange(len(items) + 1), None)
    return items[0] if len(items) == 1 and p.rng.random() < 0.7 else tuple(items)


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
        lambda x, y: x[(y > 0.0).long() % size], lambda x, y: x[..., (y > 0.0).long() % x.shape[-1]], lambda x, y: x[None, (y > 0.0).long() % size],
        lambda x, y: torch.index_select(x, 0, (y > 0.0).long() % size), lambda x, y: torch.gather(x, 0, (y > 0.0).long() % size),
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


@operation(3)
def interact(p: Program) -> None:
    """A dot interaction: vectors side by side, their products, some pairs."""
    num, width = p.num_samples, p.width
    own = [p.real(lambda twin: tuple(twin.shape) == (num, width)) for _ in range(p.rng.choice([2, 3, 3]))]
    if p.rng.random() < 0.7:
        own.append(p.plain_of((num, width)))
    total = len(own)
    pairs = torch.combinations(torch.arange(total)).T
    rows, columns = pairs[0], pairs[1]

    def interaction(*vectors: Any) -> Any:
        stack = torch.stack(vectors, 1)
        products = torch.bmm(stack, stack.transpose(1, 2))
        return torch.cat([vectors[0], products[:, rows, columns]], 1)

    def flat(*vectors: Any) -> Any:
        stack = torch.cat(vectors, 1).view(-1, total, width)
        products = (stack @ stack.mT).flatten(1)
        return products[:, rows * total + columns]

    def all_pairs(*vectors: Any) -> Any:
        stack = torch.stack(vectors, dim=1)
        return torch.matmul(stack, torch.transpose(stack, 1, 2)).reshape(num, -1)

    def machine(*vectors: Any) -> Any:
        stack = torch.stack(vectors, dim=1)
        return 0.5 * (stack.sum(1) ** 2 - (stack**2).sum(1)), stack.mean(dim=1, keepdim=True)

    p.run("interaction", p.rng.choice([interaction, flat, all_pairs, machine]), *own)


@operation(8)
def product(p: Program) -> None:
    first = p.real(lambda twin: twin.ndim > 0)
    wanted = p.rng.choice(["linear", "plain", "twin", "columns", "vector", "addmm", "any", "tensordot"])
    inner = first.shape[-1]
    if wanted == "linear":
        weight, bias = p.plain_of((p.rng.choice([1, 3, 5]), inner)), p.plain_of((1,))
        p.run("linear", lambda x, w, b: functional.linear(x, w, b.expand(w.shape[0])), first, weight, bias)
    elif wanted == "plain":
        shape = p.rng.choice(
            [
                (inner, 2),
                (inner, inner),
                (*first.shape[:-2], inner, 2),
                (1, inner, 2),
                (2, 1, inner, 2),
                (1, 1, inner, 1),
            ]
        )
        p.run(
            "matmul plain", p.rng.choice([torch.matmul, operator.matmul, torch.bmm, torch.mm]), first, p.plain_of(shape)
        )
    elif wanted == "columns":
        shape = p.rng.choice(
            [
                (2, first.shape[-2] if first.ndim > 1 else inner),
                (first.shape[0],),
                (3, 2, first.shape[-2] if first.ndim > 1 else 1),
            ]
        )
        p.run("plain @", operator.matmul, p.plain_of(shape), first)
    elif wanted == "tensordot":
        other, axis = p.plain_of((2, inner)), p.axis(first.ndim)
        functions = [
            lambda x, y: torch.tensordot(x, y, dims=([-1], [1])), lambda x, y: torch.tensordot(y, x, ([1], [axis])), lambda x, y: torch.tensordot(x, y.T, 1),
        ]  # fmt: skip
        p.run("tensordot", p.rng.choice(functions), first, other)
    elif wanted == "vector":
        p.run("mv", p.rng.choice([torch.matmul, torch.mv]), first, p.plain_of((inner,)))
    elif wanted == "addmm":
        added = p.plain_of(p.rng.choice([(2,), (1, 2), (first.shape[0], 2), (1, 1), ()]))
        p.run("addmm", lambda a, x, w: torch.addmm(a, x, w, alpha=0.5), added, first, p.plain_of((inner, 2)))
    elif wanted == "twin":
        second = p.real(
            lambda twin: twin.ndim == first.ndim and (twin.shape[-1] == inner or twin.shape[-2:-1] == (inner,))
        )
        functions = [lambda x, y: x @ y.mT, lambda x, y: x @ y, lambda x, y: torch.bmm(x, y.transpose(1, 2)), lambda x, y: x.mT @ y,
                     lambda x, y: torch.baddbmm(x.new_ones(1), x, y.transpose(1, 2)), lambda x, y: torch.baddbmm(x @ y.mT, x, y.mT)]  # fmt: skip
        p.run("products", p.rng.choice(functions), first, second)
    else:
        p.run(
            "matmul any", p.rng.choice([torch.matmul, torch.mm, torch.bmm]), first, p.real(lambda twin: twin.ndim > 0)
        )


@operation(4)
def einsum(p: Program) -> None:
    first = p.real(lambda twin: 0 < twin.ndim < 4)
    letters = "bcde"[: first.ndim]
    second = p.real(lambda twin: 0 < twin.ndim < 4) if p.rng.random() < 0.5 else p.plain_of(operand_shape(p, first))
    sizes = dict(zip(letters, first.shape, strict=True))
    own = ""
    for size in second.shape:
        same = [letter for letter in letters if sizes[letter] == size and letter not in own]
        own += p.rng.choice(same) if same and p.rng.random() < 0.8 else next(x for x in "uvwxyz" if x not in own)
    kept = "".join(letter for letter in dict.fromkeys(letters + own) if p.rng.random() < 0.6)
    equation = f"{letters},{own}->{kept}"
    p.run(f"einsum {equation}", lambda x, y: torch.einsum(equation, x, y), first, second)


@operation(6)
def layer(p: Program) -> None:
    own = p.real(lambda twin: 1 < twin.ndim)
    width = own.shape[-1]
    channels = own.shape[1]
    training = p.rng.random() < 0.6
    kind = p.rng.choice(
        [
            "layer_norm",
            "batch_norm",
            "group_norm",
            "prelu",
            "instance_norm",
            "rms_norm",
            "bilinear",
            "conv1d",
            "embedding",
        ]
    )
    if kind == "layer_norm":
        axes = p.rng.choice([1, 1, own.ndim - 1])
        shape = tuple(own.shape[-axes:])
        p.run("layer_norm", lambda x, w: functional.layer_norm(x, shape, w.expand(shape)), own, p.plain_of(shape))
    elif kind == "rms_norm":
        p.run("rms_norm", lambda x: functional.rms_norm(x, (width,), eps=1e-3), own)
    elif kind == "batch_norm":
        running = [torch.zeros(channels, dtype=torch.float64), torch.ones(channels, dtype=torch.float64)]

        def normalised(x: Any, w: Any, b: Any) -> Any:
            mean, var = (buffer.clone() for buffer in running)
            out = functional.batch_norm(x, mean, var, w, b, training, 0.3, 1e-3)
            return out, mean, var

        p.run(f"batch_norm {training}", normalised, own, p.plain_of((channels,)), p.plain_of((channels,)))
    elif kind == "group_norm":
        groups = p.rng.choice([1, channels, 2])
        p.run(
            f"group_norm {groups}",
            lambda x, w: functional.group_norm(x, groups, w, eps=1e-3),
            own,
            p.plain_of((channels,)),
        )
    elif kind == "instance_norm":
        p.run("instance_norm", lambda x: functional.instance_norm(x, eps=1e-3), own)
    elif kind == "prelu":
        p.run("prelu", functional.prelu, own, p.plain_of(p.rng.choice([(1,), (channels,)])))
    elif kind == "bilinear":
        other = p.real(lambda twin: twin.shape[:-1] == own.shape[:-1])
        weight = p.plain_of((2, width, other.shape[-1]))
        p.run("bilinear", lambda x, y, w: functional.bilinear(x, y, w), own, other, weight)
    elif kind == "conv1d":
        p.run("conv1d", lambda x, w: functional.conv1d(x, w, padding=1), own, p.plain_of((2, own.shape[-2], 2)))
    else:
        table = p.plain_of((5, 2))
        pad = p.rng.choice([None, 0])
        p.run("embedding", lambda x, w: functional.embedding((x > 0.0).long() + (x > 1.0).long(), w, pad), own, table)


@operation(4)
def attend(p: Program) -> None:
    query = p.real(lambda twin: 2 < twin.ndim)
    key = (
        p.real(lambda twin: twin.ndim == query.ndim and twin.shape[-1] == query.shape[-1])
        if p.rng.random() < 0.6
        else query
    )
    value = key if p.rng.random() < 0.7 else p.real(lambda twin: twin.shape == key.shape)
    mask = p.plain_of(p.rng.choice([(query.shape[-2], key.shape[-2]), (query.shape[0], 1, key.shape[-2]), ()]))
    if p.rng.random() < 0.5:
        p.run("attention", lambda q, k, v: functional.scaled_dot_product_attention(q, k, v), query, key, value)
    else:
        p.run("masked attention", functional.scaled_dot_product_attention, query, key, value, mask)


@operation(3)
def multi_head(p: Program) -> None:
    query = p.real(lambda twin: twin.ndim == 3)
    width = query.shape[-1]
    key = p.real(lambda twin: twin.ndim == 3 and twin.shape[-1] == width) if p.rng.random() < 0.5 else query
    inside, biases, outside = p.plain_of((3 * width, width)), p.plain_of((3 * width,)), p.plain_of((width, width))
    heads = 2 if width % 2 == 0 else 1
    weights, average, batch_first = (p.rng.random() < 0.5 for _ in range(3))

    def hidden(k: Any) -> Any:  # the first position is always seen: attention over nothing is no number
        return ((k > 1.5).all(-1) & (torch.arange(k.shape[0]) > 0).unsqueeze(1)).transpose(0, 1)

    def attention(q: Any, k: Any, w: Any, b: Any, o: Any) -> Any:
        if batch_first:
            q, k = q.transpose(0, 1), k.transpose(0, 1)
        out = functional.multi_head_attention_forward(
            q, k, k, width, heads, w, b, None, None, False, 0.0, o, None, True, hidden(k), weights,
            average_attn_weights=average,
        )  # fmt: skip
        return tuple(part for part in out if part is not None)

    if width == 0:
        raise NoStep
    p.run(f"multi head {weights} {average} {batch_first}", attention, query, key, inside, biases, outside)


IN_PLACE: list[Any] = [
    lambda x: x.mul_(0.5), lambda x: x.add_(1.0), lambda x: x.zero_(), lambda x: x.fill_(0.3), lambda x: x.relu_(),
    lambda x: functional.relu(x, inplace=True), lambda x: functional.leaky_relu(x, 0.1, True), lambda x: x.clamp_(-0.5, 0.5),
    lambda x: operator.iadd(x, 1.0), lambda x: operator.imul(x, 0.5), lambda x: x.tanh_(), lambda x: functional.hardtanh(x, -1.0, 1.0, True),
    lambda x: x.masked_fill_(x > 0.2, 0.1), lambda x: functional.dropout(x, 0.2, False, True), lambda x: functional.elu(x, 0.5, True),
    lambda x: nn.functional.selu(x, True), lambda x: x.transpose_(0, 1) if x.dim() > 1 else x, lambda x: x.unsqueeze_(0), lambda x: x.cumsum_(-1),
]  # fmt: skip
IN_PLACE_TWO: list[Any] = [
    lambda x, y: x.add_(y), lambda x, y: x.mul_(y), operator.iadd, operator.isub, lambda x, y: x.copy_(y),
    lambda x, y: x.addcmul_(y, y), lambda x, y: x.masked_fill_(y > 0.2, 0.1), lambda x, y: torch.where(y > 0.0, x, y, out=x) if False else x.sub_(y),
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
        lambda x: x[..., :1], lambda x: x[:1], lambda x: x.transpose(0, -1), lambda x: x.select(axis, 0), lambda x: x.flatten(),
        lambda x: x.unsqueeze(0), lambda x: x.detach(), lambda x: x.contiguous(), lambda x: x.double(), lambda x: x.reshape(-1),
        lambda x: x.split(1, axis)[0], lambda x: x.transpose(0, -1).contiguous(), lambda x: x.transpose(0, -1).reshape(-1), lambda x: x.T.squeeze(),
        lambda x: x.unbind(axis)[0], lambda x: x.narrow(axis, 0, 1), lambda x: x.view(-1), lambda x: x.diagonal(), lambda x: x.expand(1, *x.shape),
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
