"""Products of rows with any number of samples each, in one operation."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recfold.batch import Folded, FoldIndex
from recfold.batch.folded.flops import FlopCount
from recfold.batch.ragged_products import (
    ragged_products,
    ragged_products_gradients,
    ragged_products_reference,
    serves,
)
from recfold.model.interaction import dot_interaction

# not by `serves`: that torch has MKL and its call is not found must be noticed
HAS_MKL = torch.backends.mkl.is_available() and sys.platform.startswith("linux")
pytestmark = pytest.mark.skipif(not HAS_MKL, reason="torch has no MKL here")

counts = st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any)


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def offsets_of(numbers: list[int]) -> Tensor:
    return torch.tensor([0, *numbers]).cumsum(0)


@given(counts, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=80)
def test_products_and_gradients_equal_the_reference(
    numbers: list[int], num_m: int, num_n: int, dim: int, dtype: torch.dtype
) -> None:
    offsets = offsets_of(numbers)
    vectors = drawn(len(numbers), num_m, dim, dtype=dtype).requires_grad_()
    others = drawn(sum(numbers), num_n, dim, dtype=dtype).requires_grad_()
    expected = ragged_products_reference(vectors, others, offsets)
    found = ragged_products(vectors.detach(), others.detach(), offsets)
    exact = {"rtol": 1e-12, "atol": 1e-12} if dtype is torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found, expected, **exact)
    grad = drawn(*expected.shape, dtype=dtype)
    ours = ragged_products_gradients(grad, vectors.detach(), others.detach(), offsets)
    for own, other in zip(ours, torch.autograd.grad(expected, (vectors, others), grad), strict=True):
        torch.testing.assert_close(own, other, **exact)


def test_a_row_without_samples_has_no_gradient() -> None:
    vectors, others, offsets = drawn(3, 2, 4), drawn(2, 1, 4), offsets_of([1, 0, 1])
    of_vectors, _ = ragged_products_gradients(torch.ones(2, 2, dtype=torch.float64), vectors, others, offsets)
    assert torch.equal(of_vectors[1], torch.zeros(2, 4, dtype=torch.float64))
    assert of_vectors[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("tensors", "yes"),
    [
        ((torch.ones(2), torch.ones(3)), True),
        ((torch.ones(2).double(), torch.ones(3).double()), True),
        ((torch.ones(2), torch.ones(3).double()), False),
        ((torch.ones(2).bfloat16(),), False),
        ((torch.ones(2), torch.ones(0)), False),
        ((torch.ones(2, device="meta"),), False),
    ],
)
def test_what_is_served(tensors: tuple[Tensor, ...], yes: bool) -> None:
    assert serves(*tensors) is yes


def test_operations_are_counted() -> None:
    vectors, others, offsets = drawn(2, 3, 4), drawn(5, 2, 4), offsets_of([2, 3])
    with FlopCount() as forward:
        out = ragged_products(vectors, others, offsets)
    with FlopCount() as backward:
        ragged_products_gradients(out, vectors, others, offsets)
    assert forward.total.products == 2 * 5 * (2 * 3) * 4
    assert backward.total.products == 2 * forward.total.products


def test_two_runs_are_bit_equal() -> None:
    numbers = [1 + number % 7 for number in range(60)]
    vectors = drawn(len(numbers), 5, 64, dtype=torch.float32)
    others, offsets = drawn(sum(numbers), 3, 64, dtype=torch.float32), offsets_of(numbers)
    first = ragged_products(vectors, others, offsets)
    for _ in range(3):
        assert torch.equal(first, ragged_products(vectors.clone(), others.clone(), offsets))


WRONG = {
    "other dims": (drawn(2, 3, 8), drawn(3, 2, 4), [0, 1, 3], "expected"),
    "two axes": (drawn(2, 3), drawn(3, 2, 3), [0, 1, 3], "expected"),
    "not contiguous": (drawn(2, 4, 3).transpose(1, 2), drawn(3, 2, 4), [0, 1, 3], "not contiguous"),
    "two types": (drawn(2, 3, 4), drawn(3, 2, 4).float(), [0, 1, 3], "of one type"),
    "too few rows": (drawn(2, 3, 4), drawn(3, 2, 4), [0, 3], "offsets of"),
    "samples without a row": (drawn(2, 3, 4), drawn(3, 2, 4), [0, 1, 2], "offsets from 0 to 2"),
    "falling": (drawn(2, 3, 4), drawn(3, 2, 4), [0, 4, 3], "never falling"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=list(WRONG))
def test_wrong_operands_are_refused(case: tuple[Tensor, Tensor, list[int], str]) -> None:
    vectors, others, offsets, message = case
    with pytest.raises(ValueError, match=message):
        ragged_products(vectors, others, torch.tensor(offsets))
    with pytest.raises(ValueError, match=message):
        ragged_products_gradients(drawn(3, 6), vectors, others, torch.tensor(offsets))


def test_a_wrong_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="expected contiguous"):
        ragged_products_gradients(drawn(3, 5), drawn(2, 3, 4), drawn(3, 2, 4), torch.tensor([0, 1, 3]))


def test_the_dot_interaction_uses_them() -> None:
    user = Folded(drawn(2, 3, 4), FoldIndex(torch.tensor([0, 0, 1]), 2))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        dot_interaction(torch.cat([user, drawn(3, 2, 4)], 1))
    assert "recfold::ragged_products" in {event.key for event in profile.key_averages()}
