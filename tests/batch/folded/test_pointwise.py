from collections.abc import Callable
from typing import Any

import pytest
import torch

CASES: dict[str, tuple[Callable[..., Any], int | None, list[tuple[int, ...]]]] = {
    "activation": (torch.tanh, 0, [(4,)]),
    "a number": (lambda x: 1.0 - x * 2, 0, [(4,)]),
    "reflected": (lambda x: 2.0 / (x + 1), 0, [(4,)]),
    "same for all": (lambda x: x + torch.ones(4, dtype=torch.float64), 0, [(4,)]),
    "same for all, one row": (lambda x: x * torch.ones(1, 4, dtype=torch.float64), 0, [(4,)]),
    "same for all, stride 0": (lambda x: x * torch.rand(1, 4).double().mul(0).expand(7, 4), 0, [(4,)]),
    "leading axes": (lambda x: x * torch.ones(2, 1, 4, dtype=torch.float64), 1, [(4,)]),
    "two": (lambda x, y: torch.where(x > y, x, y), 0, [(4,), (4,)]),
    "two, broadcast": (lambda x, y: x * y, 0, [(4,), (1,)]),
    "comparison": (lambda x: (x > 0.5) & ~(x > 0.7), 0, [(4,)]),
    "mask": (lambda x: x.masked_fill(x > 0.5, 0.0), 0, [(4,)]),
    "cast": (lambda x: x.float().to(torch.float64).type_as(torch.ones(1)), 0, [(4,)]),
    "per sample": (lambda x: x + torch.arange(7).unsqueeze(1), None, [(4,)]),
    "per sample, as many as rows": (lambda x: x + torch.ones(7, 1, dtype=torch.float64), None, [(4,)]),
    "batch against features": (lambda x, y: x + y.t(), None, [(7,), (7,)]),
    "prelu": (lambda x: torch.prelu(x, torch.ones(4, dtype=torch.float64)), 0, [(4,)]),
}
"""Call, batch axis of what it gives (None: it has to unfold), shapes of rows."""


@pytest.mark.parametrize("name", CASES)
def test_entry_by_entry(name: str, on_rows: Callable[..., None]) -> None:
    call, axis, shapes = CASES[name]
    on_rows(call, axis, *shapes)
