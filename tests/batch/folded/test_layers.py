from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

CASES: dict[str, tuple[Callable[..., Any], int | None, list[tuple[int, ...]]]] = {
    "layer norm": (lambda x: functional.layer_norm(x, (4,)), 0, [(4,)]),
    "layer norm over all": (lambda x: functional.layer_norm(x, (7, 4)), None, [(4,)]),
    "batch norm": (lambda x: functional.batch_norm(x, None, None, training=True), 0, [(4,)]),
    "batch norm, samples last": (lambda x: functional.batch_norm(x.t(), None, None, training=True), None, [(4,)]),
    "group norm": (lambda x: functional.group_norm(x, 2), 0, [(4, 3)]),
    "instance norm": (lambda x: functional.instance_norm(x), 0, [(4, 3)]),
    "attention": (lambda q, k: functional.scaled_dot_product_attention(q, k, k), 0, [(2, 4), (3, 4)]),
    "attention between samples": (
        lambda x: functional.scaled_dot_product_attention(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1)),
        None,
        [(3, 4)],
    ),
    "convolution": (lambda x: functional.conv1d(x, torch.ones(2, 4, 2).double()), 0, [(4, 3)]),
    "convolution over samples": (lambda x: functional.conv1d(x.t(), torch.ones(2, 4, 2).double()), None, [(4,)]),
    "embedding": (
        lambda x: functional.embedding((x > 0.5).long(), torch.rand(2, 3, generator=torch.Generator().manual_seed(0))),
        0,
        [(4,)],
    ),
    "one hot": (lambda x: functional.one_hot((x > 0.5).long(), 2), 0, [(4,)]),
    "one hot, classes unknown": (lambda x: functional.one_hot((x > -1).long()), None, [(4,)]),
}
"""Call, batch axis of what it gives (None: it has to unfold), shapes of rows."""


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str, on_rows: Callable[..., None]) -> None:
    call, axis, shapes = CASES[name]
    on_rows(call, axis, *shapes)
