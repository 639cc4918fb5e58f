from collections.abc import Callable
from typing import Any

import pytest
import torch

CASES: dict[str, tuple[Callable[..., Any], int | None, list[tuple[int, ...]]]] = {
    "turned": (lambda x: x.t(), 1, [(4,)]),
    "permuted": (lambda x: x.permute(2, 0, 1), 1, [(4, 3)]),
    "moved": (lambda x: x.movedim(0, -1), 2, [(4, 3)]),
    "unsqueezed": (lambda x: x.unsqueeze(0), 1, [(4,)]),
    "squeezed": (lambda x: x.unsqueeze(0).squeeze(0), 0, [(4,)]),
    "flattened": (lambda x: x.flatten(1), 0, [(4, 3)]),
    "flattened with samples": (lambda x: x.flatten(), None, [(4,)]),
    "viewed": (lambda x: x.view(-1, 2, 2), 0, [(4,)]),
    "viewed behind other axes": (lambda x: x.movedim(0, 1).reshape(2, 2, 7, 3), 2, [(4, 3)]),
    "heads": (lambda x: x.transpose(0, 1).reshape(5, 7 * 2, 2), None, [(5, 4)]),
    "expanded": (lambda x: x.expand(2, -1, 4), 1, [(4,)]),
    "repeated": (lambda x: x.repeat(1, 2), 0, [(4,)]),
    "samples repeated": (lambda x: x.repeat(2, 1), None, [(4,)]),
    "padded": (lambda x: torch.nn.functional.pad(x, (1, 2)), 0, [(4,)]),
    "columns": (lambda x: x[:, 1:3], 0, [(4,)]),
    "a column": (lambda x: x[:, -1], 0, [(4,)]),
    "new axis": (lambda x: x[None, ..., None], 1, [(4,)]),
    "columns by number": (lambda x: x[:, [2, 0]], 0, [(4,)]),
    "pairs by number": (lambda x: x[:, torch.tensor([0, 1]), torch.tensor([2, 2])], 0, [(4, 3)]),
    "samples": (lambda x: x[1:3], None, [(4,)]),
    "mask": (lambda x: x[x > 0.5], None, [(4,)]),
}
"""Call, batch axis of what it gives (None: it has to unfold), shapes of rows."""


@pytest.mark.parametrize("name", CASES)
def test_arranging_axes(name: str, on_rows: Callable[..., None]) -> None:
    call, axis, shapes = CASES[name]
    on_rows(call, axis, *shapes)
