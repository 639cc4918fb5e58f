import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.batch import FoldIndex
from recfold.batch.fold_index import fold_sum_reference, unfold_reference
from recfold.spec import InputError


@st.composite
def indexes(draw: st.DrawFn) -> FoldIndex:
    num_distinct = draw(st.integers(0, 6))
    if draw(st.booleans()):
        return FoldIndex.identity(num_distinct)
    inverse = draw(st.lists(st.integers(0, num_distinct - 1), max_size=20)) if num_distinct else []
    if draw(st.booleans()):
        inverse = sorted(inverse)
    return FoldIndex(torch.tensor(inverse, dtype=torch.int64), num_distinct)


EDGES = {
    "all the same": FoldIndex(torch.zeros(5, dtype=torch.int64), 1),
    "all different": FoldIndex(torch.tensor([3, 1, 0, 2]), 4),
    "identity": FoldIndex.identity(4),
    "one sample": FoldIndex(torch.tensor([0]), 1),
    "no samples": FoldIndex(torch.empty(0, dtype=torch.int64), 3),
    "nothing": FoldIndex(torch.empty(0, dtype=torch.int64), 0),
    "identity of nothing": FoldIndex.identity(0),
}


@given(indexes(), st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64]))
def test_unfold_and_fold_sum_equal_the_references(index: FoldIndex, dtype: torch.dtype) -> None:
    values_U = (torch.randn(index.num_distinct, 3) * 8).to(dtype)
    values_B = (torch.randn(index.num_samples, 3) * 8).to(dtype)
    assert torch.equal(index.unfold(values_U), unfold_reference(index, values_U))
    torch.testing.assert_close(index.fold_sum(values_B), fold_sum_reference(index, values_B))
    ones = torch.ones(index.num_samples, dtype=torch.int64)
    assert torch.equal(index.counts(), fold_sum_reference(index, ones))


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    index = EDGES[name]
    values_U = torch.randn(index.num_distinct, 2, 2, dtype=torch.float64, requires_grad=True)
    values_B = torch.randn(index.num_samples, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.equal(index.unfold(values_U), unfold_reference(index, values_U))
    torch.testing.assert_close(index.fold_sum(values_B), fold_sum_reference(index, values_B.detach()))
    assert torch.autograd.gradcheck(index.unfold, (values_U,))
    assert torch.autograd.gradcheck(index.fold_sum, (values_B,))


@given(indexes())
@settings(max_examples=20)
def test_backward_of_unfold_is_fold_sum(index: FoldIndex) -> None:
    values = torch.randn(index.num_distinct, 3, dtype=torch.float64, requires_grad=True)
    grads = torch.randn(index.num_samples, 3, dtype=torch.float64)
    (got,) = torch.autograd.grad(index.unfold(values), values, grads)
    torch.testing.assert_close(got, fold_sum_reference(index, grads))
    assert torch.autograd.gradgradcheck(index.unfold, (values,))


def test_identity_unfolds_to_the_same_tensor() -> None:
    values = torch.ones(3, 2)
    assert FoldIndex.identity(3).unfold(values) is values


def test_nan_reaches_its_own_row_only() -> None:
    index = FoldIndex(torch.tensor([0, 1, 0]), 2)
    assert index.fold_sum(torch.tensor([[1.0], [float("nan")], [2.0]]))[0].item() == 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 64, 65])
def test_number_of_threads_does_not_change_a_bit(dtype: torch.dtype, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inverse = torch.randint(50, (4096,), generator=generator)
    grads = torch.randn(4096, width, generator=generator).to(dtype)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            values = torch.zeros(50, width, dtype=dtype, requires_grad=True)
            FoldIndex(inverse, 50).unfold(values).backward(grads)
            assert values.grad is not None
            results.append(values.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@given(indexes(), st.data())
def test_select_keeps_the_rows_that_the_samples_use(index: FoldIndex, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, index.num_samples))
    stop = data.draw(st.integers(start, index.num_samples))
    part, kept = index.select(start, stop)
    values = torch.arange(float(index.num_distinct))
    assert torch.equal(part.unfold(values[kept]), index.unfold(values)[start:stop])
    assert part.num_distinct == len(kept) == len(set(index.unfold(values)[start:stop].tolist()))
    assert torch.equal(kept, kept.sort().values)


@given(st.lists(indexes(), min_size=1, max_size=3))
def test_concat_puts_samples_and_rows_one_after_the_other(parts: list[FoldIndex]) -> None:
    whole = FoldIndex.concat(parts)
    values = [torch.randn(part.num_distinct, 2) for part in parts]
    expected = torch.cat([part.unfold(rows) for part, rows in zip(parts, values, strict=True)])
    assert torch.equal(whole.unfold(torch.cat(values)), expected)
    assert whole.is_identity == all(part.is_identity for part in parts)


def test_pickle_keeps_the_index() -> None:
    for index in EDGES.values():
        index.unfold(torch.ones(index.num_distinct, 1))
        copy = pickle.loads(pickle.dumps(index))
        assert repr(copy) == repr(index)
        assert (copy.inverse is None) == (index.inverse is None)
        if index.inverse is not None:
            assert torch.equal(copy.inverse, index.inverse)


def test_to_the_same_place_is_no_copy() -> None:
    index = EDGES["all different"]
    assert index.to("cpu") is index
    assert index.to("meta").inverse.device.type == "meta"
    assert EDGES["identity"].to("meta") is EDGES["identity"]
    if not torch.cuda.is_available():
        assert index.pin_memory() is index


def test_dedup_factor() -> None:
    assert FoldIndex(torch.tensor([0, 0, 1]), 2).dedup_factor == 1.5
    assert FoldIndex.identity(0).dedup_factor == 1.0


@pytest.mark.parametrize(
    "inverse, message",
    [
        (
            torch.tensor([0, 2]),
            "inverse of a fold index is out of range; got 2; expected 0 <= inverse < 2, the number of distinct lists",
        ),
        (
            torch.tensor([0, -1]),
            "inverse of a fold index is out of range; got -1; expected 0 <= inverse < 2, the number of distinct lists",
        ),
        (torch.tensor([0, 1], dtype=torch.int32), "inverse of a fold index must be int64; got int32"),
        (torch.tensor([[0, 1]]), "inverse of a fold index must have one axis; got shape [1, 2]"),
    ],
)
def test_broken_inverse(inverse: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError) as error:
        FoldIndex(inverse, 2)
    assert str(error.value) == message


def test_negative_number_of_rows() -> None:
    with pytest.raises(InputError) as error:
        FoldIndex(None, -1)
    assert str(error.value) == "a fold index has a negative number of distinct rows; got -1"


def test_range_outside_the_batch() -> None:
    with pytest.raises(InputError) as error:
        FoldIndex.identity(3).select(2, 4)
    assert str(error.value) == "samples [2, 4) are not in the batch; expected 0 <= start <= stop <= 3"


@pytest.mark.parametrize("index", [FoldIndex.identity(2), FoldIndex(torch.tensor([0, 1]), 2)])
def test_wrong_number_of_rows_is_a_programmers_error(index: FoldIndex) -> None:
    with pytest.raises(ValueError, match="expected 2 rows, got a tensor of shape"):
        index.unfold(torch.ones(3, 1))
    with pytest.raises(ValueError, match="expected 2 rows, got a tensor of shape"):
        index.fold_sum(torch.ones(3, 1))


@pytest.mark.parametrize(
    ("inverse", "order", "offsets"),
    [([0, 0, 2], None, [0, 2, 2, 3]), ([2, 0, 2, 0], [1, 3, 0, 2], [0, 2, 2, 4]), (None, None, [0, 1, 2, 3])],
)
def test_samples_by_row(inverse: list[int] | None, order: list[int] | None, offsets: list[int]) -> None:
    index = FoldIndex(None if inverse is None else torch.tensor(inverse), 3)
    found, starts = index.samples_by_row()
    assert (None if found is None else found.tolist(), starts.tolist()) == (order, offsets)
