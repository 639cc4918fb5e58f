from collections.abc import Callable
from typing import Any

import pytest
import torch

CASES: dict[str, tuple[Callable[..., Any], int | None, list[tuple[int, ...]]]] = {
    "sum": (lambda x: x.sum(-1), 0, [(4,)]),
    "sum, kept": (lambda x: x.sum(1, keepdim=True), 0, [(4,)]),
    "sum over samples": (lambda x: x.sum(0), None, [(4,)]),
    "sum of all": (lambda x: x.sum(), None, [(4,)]),
    "mean of several": (lambda x: torch.mean(x, (1, 2)), 0, [(4, 3)]),
    "mean, samples among them": (lambda x: torch.mean(x, (0, 2)), None, [(4, 3)]),
    "max": (lambda x: x.max(1), 0, [(4,)]),
    "max of two": (lambda x, y: torch.max(x, y), 0, [(4,), (4,)]),
    "norm": (lambda x: torch.linalg.vector_norm(x, dim=1), 0, [(4,)]),
    "softmax": (lambda x: torch.softmax(x, -1), 0, [(4,)]),
    "softmax over samples": (lambda x: torch.softmax(x, 0), None, [(4,)]),
    "sort": (lambda x: x.sort(1), 0, [(4,)]),
    "topk": (lambda x: x.topk(2), 0, [(4,)]),
    "cumsum": (lambda x: x.cumsum(1), 0, [(4,)]),
    "cumsum over samples": (lambda x: x.cumsum(0), None, [(4,)]),
    "split": (lambda x: x.split(2, 1), 0, [(4,)]),
    "chunk samples": (lambda x: x.chunk(2), None, [(4,)]),
    "unbind": (lambda x: x.unbind(1), 0, [(4,)]),
    "gather": (lambda x: x.gather(1, x.argsort(1)), 0, [(4,)]),
    "index_select": (lambda x: x.index_select(1, torch.tensor([1, 1])), 0, [(4,)]),
    "flip": (lambda x: x.flip(1), 0, [(4,)]),
    "flip samples": (lambda x: x.flip(0), None, [(4,)]),
    "cosine": (lambda x, y: torch.cosine_similarity(x, y), 0, [(4,), (4,)]),
    "std": (lambda x: x.std(1), 0, [(4,)]),
}
"""Call, batch axis of what it gives (None: it has to unfold), shapes of rows."""


@pytest.mark.parametrize("name", CASES)
def test_along_axes(name: str, on_rows: Callable[..., None]) -> None:
    call, axis, shapes = CASES[name]
    on_rows(call, axis, *shapes)
