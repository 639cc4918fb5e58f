from collections.abc import Callable
from typing import Any

import pytest
import torch

CASES: dict[str, tuple[Callable[..., Any], int | None, list[tuple[int, ...]]]] = {
    "linear": (lambda x: torch.nn.functional.linear(x, torch.ones(2, 4).double(), torch.ones(2).double()), 0, [(4,)]),
    "linear of positions": (
        lambda x: torch.nn.functional.linear(x.transpose(0, 1), torch.ones(2, 4).double()),
        1,
        [(3, 4)],
    ),
    "linear over samples": (lambda x: torch.nn.functional.linear(x.t(), torch.ones(2, 7).double()), None, [(4,)]),
    "rows": (lambda x: x @ torch.ones(4, 2).double(), 0, [(4,)]),
    "columns": (lambda x: torch.ones(2, 4).double() @ x.t(), 1, [(4,)]),
    "rows, many right": (lambda x: x @ torch.ones(5, 4, 2).double(), 1, [(4,)]),
    "vector": (lambda x: x @ torch.ones(4).double(), 0, [(4,)]),
    "left vector": (lambda x: torch.ones(3).double() @ x, 0, [(3, 4)]),
    "batched": (lambda x, y: torch.bmm(x, y.transpose(1, 2)), 0, [(2, 4), (3, 4)]),
    "batched with one": (lambda x: x @ torch.ones(4, 2).double(), 0, [(2, 4)]),
    "sum over samples": (lambda x, y: x.t() @ y, None, [(4,), (3,)]),
    "addmm": (lambda x: torch.addmm(torch.ones(2).double(), x, torch.ones(4, 2).double()), 0, [(4,)]),
    "baddbmm": (lambda x, y: torch.baddbmm(x @ y.mT, x, y.mT), 0, [(2, 4), (3, 4)]),
    "einsum": (lambda x, y: torch.einsum("bld,bd->lb", x, y), 1, [(3, 4), (4,)]),
    "einsum over samples": (lambda x: torch.einsum("bd->d", x), None, [(4,)]),
    "bilinear": (lambda x, y: torch.nn.functional.bilinear(x, y, torch.ones(2, 4, 3).double()), 0, [(4,), (3,)]),
    "tensordot": (lambda x: torch.tensordot(torch.ones(2, 4).double(), x, ([1], [2])), 1, [(3, 4)]),
    "tensordot over samples": (lambda x: torch.tensordot(torch.ones(2, 7).double(), x, ([1], [0])), None, [(4,)]),
}
"""Call, batch axis of what it gives (None: it has to unfold), shapes of rows."""


@pytest.mark.parametrize("name", CASES)
def test_products(name: str, on_rows: Callable[..., None]) -> None:
    call, axis, shapes = CASES[name]
    on_rows(call, axis, *shapes)
