import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recfold.optim.touched import sum_rows, sum_rows_reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@st.composite
def bags(draw: st.DrawFn) -> tuple[Tensor, Tensor | None]:
    rows = st.sampled_from([0, 1, 2, 3, 2**62])
    lists = draw(st.lists(st.lists(rows, max_size=5), max_size=6))
    values = torch.tensor([value for own in lists for value in own], dtype=torch.int64)
    if draw(st.booleans()):
        return values, None
    return values, torch.tensor([0, *(len(own) for own in lists)]).cumsum(0)


@given(bags(), st.sampled_from([0, 1, 3, 4]), st.sampled_from(DTYPES), st.booleans(), st.integers(0, 99))
def test_equals_the_reference(
    case: tuple[Tensor, Tensor | None], dim: int, dtype: torch.dtype, weighted: bool, seed: int
) -> None:
    values, offsets = case
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(len(values) if offsets is None else len(offsets) - 1, dim, generator=generator).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    weights = torch.randn(len(values), generator=generator).to(wide) if weighted else None
    rows, summed = sum_rows(grads, values, offsets, weights)
    expected_rows, expected = sum_rows_reference(grads, values, offsets, weights)
    assert rows.tolist() == expected_rows.tolist()
    torch.testing.assert_close(summed, expected)


def test_half_gradients_are_summed_in_float32() -> None:
    grads = torch.full((4096, 1), 1.0, dtype=torch.float16)
    _, summed = sum_rows(grads, torch.zeros(4096, dtype=torch.int64), None)
    assert summed.tolist() == [[4096.0]]  # float16 would stop counting at 2048


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(dtype: torch.dtype, weighted: bool, threads: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(100_000, generator=generator) ** 4 * 5000).long()
    grads = torch.randn(20_000, 8, generator=generator, dtype=dtype)
    weights = torch.randn(100_000, generator=generator, dtype=dtype) if weighted else None
    found = []
    for count in threads:
        torch.set_num_threads(count)
        found.append(sum_rows(grads, values, torch.arange(20_001) * 5, weights))
    assert all(torch.equal(rows, found[0][0]) and torch.equal(sums, found[0][1]) for rows, sums in found)
