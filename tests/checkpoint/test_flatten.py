"""State survives flattening value for value, whatever torch's optimizers and schedules put into it."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recfold.checkpoint import flatten, unflatten
from recfold.spec import InputError


def round_trip(state: Any) -> Any:
    tensors, tree = flatten(state)
    return unflatten(tensors, json.loads(json.dumps(tree, allow_nan=False)))


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.text(max_size=5) | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
TENSORS = st.lists(st.floats(width=32), max_size=4).map(lambda values: torch.tensor(values, dtype=torch.float32))
NESTED = st.recursive(
    SCALARS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(NESTED)
def test_any_nested_state_comes_back(state: Any) -> None:
    assert same(round_trip(state), state)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float64])
def test_every_dtype_and_shape_comes_back(dtype: torch.dtype) -> None:
    for tensor in (torch.ones(2, 3).to(dtype), torch.zeros(()).to(dtype), torch.zeros(0, 4).to(dtype)):
        back = round_trip({"x": tensor})["x"]
        assert back.dtype == dtype
        assert torch.equal(back, tensor)


def test_views_of_one_storage_and_transposes_come_back_apart() -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    state = {"row": whole[0], "turned": whole.T, "whole": whole}
    tensors, tree = flatten(state)
    assert len({tensor.data_ptr() for tensor in tensors.values()}) == 3
    back = unflatten(tensors, tree)
    assert torch.equal(back["turned"], whole.T)
    assert torch.equal(back["row"], whole[0])


def test_names_that_meet_do_not_overwrite_each_other() -> None:
    state = {"a.b": torch.tensor(1.0), "a": {"b": torch.tensor(2.0)}, 0: torch.tensor(3.0), "0": torch.tensor(4.0)}
    assert same(round_trip(state), state)


def test_arrays_and_counters_keep_their_type() -> None:
    state = {"array": np.arange(3, dtype=np.uint32), "milestones": Counter({2: 1, 5: 2})}
    back = round_trip(state)
    assert same(back["array"], state["array"])
    assert isinstance(back["milestones"], Counter)
    assert back["milestones"] == state["milestones"]


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot save optimizer\.rule\.1; got a function"):
        flatten({"rule": [1, lambda step: step]}, "optimizer")
    with pytest.raises(InputError, match="a key of type tuple"):
        flatten({(1, 2): 3})


@pytest.mark.parametrize("tree", [{}, {"dict": [], "list": []}, {"set": []}, {"tensor": "gone"}])
def test_a_broken_tree_is_an_error(tree: Any) -> None:
    with pytest.raises(InputError, match="broken state"):
        unflatten({}, tree)


# SparseAdam takes sparse gradients only; every other optimizer of torch is tried
OPTIMIZERS = sorted(
    name
    for name in torch.optim.__all__
    if isinstance(getattr(torch.optim, name, None), type) and name not in ("Optimizer", "SparseAdam")
)


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_torch_optimizer_goes_on_bit_for_bit(name: str) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Linear(3, 3, bias=False)
        return model, getattr(torch.optim, name)(model.parameters(), lr=0.01)

    straight, optimizer = fresh()
    one_step(straight, optimizer, 1)
    saved = flatten(straight.state_dict()), flatten(optimizer.state_dict())
    one_step(straight, optimizer, 2)

    resumed, optimizer = fresh()
    resumed.load_state_dict(unflatten(*saved[0]))
    optimizer.load_state_dict(unflatten(*saved[1]))
    one_step(resumed, optimizer, 2)
    assert same(dict(resumed.state_dict()), dict(straight.state_dict()))
