"""Steps of random programs: products, layers, attention."""

import operator
from typing import Any

import torch
from folded_programs import NoStep, Program, operand_shape, operation
from torch.nn import functional


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
            lambda x, y: torch.tensordot(x, y, dims=([-1], [1])), lambda x, y: torch.tensordot(y, x, ([1], [axis])),
            lambda x, y: torch.tensordot(x, y.T, 1),
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
        functions = [lambda x, y: x @ y.mT, lambda x, y: x @ y, lambda x, y: torch.bmm(x, y.transpose(1, 2)),
                     lambda x, y: x.mT @ y,
                     lambda x, y: torch.baddbmm(x.new_ones(1), x, y.transpose(1, 2)),
                     lambda x, y: torch.baddbmm(x @ y.mT, x, y.mT)]  # fmt: skip
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
    own = p.real(lambda twin: twin.ndim > 1)
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
    query = p.real(lambda twin: twin.ndim > 2)
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
