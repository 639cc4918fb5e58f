import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recfold.batch.segmented_sum import SegmentedSum, segmented_sum_reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@st.composite
def sums(draw: st.DrawFn) -> tuple[Tensor, int, Tensor | None]:
    num_rows = draw(st.integers(0, 6))
    source = draw(st.lists(st.integers(0, num_rows - 1), max_size=20)) if num_rows else []
    if draw(st.booleans()):
        source = sorted(source)
    offsets = None
    if draw(st.booleans()):
        inner = sorted(draw(st.lists(st.integers(0, len(source)), max_size=8)))
        offsets = torch.tensor([0, *inner, len(source)])
    return torch.tensor(source, dtype=torch.int64), num_rows, offsets


@given(sums(), st.sampled_from([(), (1,), (3,), (2, 2), (0,)]), st.sampled_from(DTYPES), st.integers(0, 99))
def test_sum_and_its_transpose_equal_the_reference(
    case: tuple[Tensor, int, Tensor | None], tail: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    source, num_rows, offsets = case
    generator = torch.Generator().manual_seed(seed)
    total = SegmentedSum(source, num_rows, offsets)
    rows = torch.randn(num_rows, *tail, generator=generator).to(dtype)
    torch.testing.assert_close(total(rows), segmented_sum_reference(rows, source, num_rows, offsets))

    back = total.transposed()
    grads = torch.randn(total.num_outputs, *tail, generator=generator).to(dtype)
    expected = segmented_sum_reference(grads, back.source_P, back.num_rows, back.offsets)
    torch.testing.assert_close(back(grads), expected)
    assert back.transposed() is total


@given(sums())
def test_transpose_is_the_transposed_matrix(case: tuple[Tensor, int, Tensor | None]) -> None:
    total = SegmentedSum(*case)
    matrix = total(torch.eye(total.num_rows, dtype=torch.float64))
    transposed = total.transposed()(torch.eye(total.num_outputs, dtype=torch.float64))
    assert torch.equal(matrix, transposed.T)


@given(sums())
@settings(max_examples=20)
def test_first_and_second_gradients(case: tuple[Tensor, int, Tensor | None]) -> None:
    total = SegmentedSum(*case)
    rows = torch.randn(total.num_rows, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total, (rows,))
    assert torch.autograd.gradgradcheck(total, (rows,))


def test_integers_are_summed_exactly() -> None:
    total = SegmentedSum(torch.tensor([0, 1, 1]), 2, torch.tensor([0, 2, 2, 3]))
    rows = torch.tensor([[2**53 + 1], [1]])
    assert total(rows).tolist() == [[2**53 + 2], [0], [1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    # 256 + 1 is 256 in bfloat16 and 2048 + 1 is 2048 in float16: adding ones one by one would get stuck there.
    total = SegmentedSum(torch.arange(4096), 4096, torch.tensor([0, 4096]))
    assert total(torch.ones(4096, 3, dtype=dtype)).tolist() == [[4096.0] * 3]


def test_gradients_that_are_not_contiguous() -> None:
    total = SegmentedSum(torch.tensor([1, 0, 1]), 2)
    rows = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    total(rows).sum().backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [[1.0] * 3, [2.0] * 3]
    turned = torch.arange(6.0).view(3, 2).T
    assert torch.equal(total(turned), turned[[1, 0, 1]])
    assert torch.equal(total.transposed()(torch.arange(6.0).view(2, 3).T), torch.tensor([[1.0, 4.0], [2.0, 8.0]]))


def test_wrong_number_of_rows_is_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="expected 2 rows, got a tensor of shape"):
        SegmentedSum(torch.tensor([1]), 2)(torch.ones(3, 1))
