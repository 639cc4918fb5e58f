"""What the tests of folded tensors share: random programs, and whether a call ran on distinct rows."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from recfold.batch import Folded, FoldIndex, TensorLike

STEPS = ("steps_of_rows", "steps_of_shapes", "steps_of_products", "steps_that_write")
collect_ignore = ["distributed.py", "programs.py", *(f"{name}.py" for name in STEPS)]
"""They hold no tests: loaded below by path, or run as a process."""


def _neighbour(name: str) -> ModuleType:
    """A module of this folder, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"folded_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def programs() -> ModuleType:
    """programs.py, with all operations."""
    machine = _neighbour("programs")
    for name in STEPS:
        _neighbour(name)
    return machine


def _on_rows(call: Callable[..., Any], axis: int | None, *shapes: tuple[int, ...]) -> None:
    """A call on folded [samples, *shape] equals the plain one; it gives Folded along `axis`, or tensors (None)."""
    index = FoldIndex(torch.tensor([2, 0, 0, 1, 2, 2, 0]), 3)
    assert index.inverse is not None
    folded = [Folded(torch.rand(3, *shape, dtype=torch.float64), index) for shape in shapes]
    plain = [own.unfold() for own in folded]
    found, right = ([out] if isinstance(out, (Tensor, TensorLike)) else out for out in (call(*folded), call(*plain)))
    for own, expected in zip(found, right, strict=True):
        if axis is None:
            assert isinstance(own, Tensor)
        else:
            assert isinstance(own, Folded)
            assert (own.num_distinct, own.batch_axis) == (3, axis)
        torch.testing.assert_close(own.unfold() if isinstance(own, TensorLike) else own, expected)


@pytest.fixture(scope="session")
def on_rows() -> Callable[..., None]:
    return _on_rows
