import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.batch import FoldedSequence, FoldIndex, plain
from recfold.batch.folded_sequence import padded_reference, sequence_unfold_reference
from recfold.spec import InputError


@st.composite
def sequences(draw: st.DrawFn, equal_lengths: bool = False) -> FoldedSequence:
    """Windows that overlap, rows that none uses, empty windows; none at all."""
    num_rows = draw(st.integers(0, 6))
    fixed = draw(st.integers(0, num_rows))
    start, length = [], []
    for _ in range(draw(st.integers(0, 5))):
        length.append(fixed if equal_lengths else draw(st.integers(0, num_rows)))
        start.append(draw(st.integers(0, num_rows - length[-1])))
    index = FoldIndex.identity(len(start))
    if draw(st.booleans()):
        inverse = draw(st.lists(st.integers(0, len(start) - 1), max_size=8)) if start else []
        index = FoldIndex(torch.tensor(inverse, dtype=torch.int64), len(start))
    rows = torch.randn(num_rows, draw(st.integers(1, 3)), dtype=torch.float64)
    return FoldedSequence(rows, torch.tensor(start, dtype=torch.int64), torch.tensor(length, dtype=torch.int64), index)


either = sequences() | sequences(equal_lengths=True)


@given(either, st.integers(0, 3))
def test_padded_equals_the_reference(sequence: FoldedSequence, extra: int) -> None:
    padded, mask = sequence.padded_distinct()
    expected, expected_mask = padded_reference(sequence)
    assert torch.equal(padded, expected)
    assert torch.equal(mask, expected_mask)
    width = expected.shape[1] + extra
    wider, wider_mask = sequence.padded_distinct(width)
    assert wider.shape[:2] == wider_mask.shape == (sequence.num_distinct, width)
    assert torch.equal(wider[:, : expected.shape[1]], expected)
    assert not wider[:, expected.shape[1] :].any()
    assert not wider_mask[:, expected.shape[1] :].any()


@given(either)
def test_unfold_equals_the_reference(sequence: FoldedSequence) -> None:
    plain, expected = sequence.unfold(), sequence_unfold_reference(sequence)
    assert plain.index.is_identity
    assert plain.num_samples == sequence.num_samples
    for ours, theirs in zip(plain.padded_distinct(), expected.padded_distinct(), strict=True):
        assert torch.equal(ours, theirs)
    if not sequence.index.is_identity:
        assert torch.equal(plain.rows, expected.rows)
        assert torch.equal(plain.start, expected.start)
        assert torch.equal(plain.length, expected.length)


@given(either)
def test_unfolding_after_padding_or_pooling_is_the_same_as_before(sequence: FoldedSequence) -> None:
    whole = sequence.unfold()
    width = int(sequence.length.max()) if sequence.num_distinct else 0
    assert torch.equal(sequence.index.unfold(sequence.padded_distinct()[0]), whole.padded_distinct(width)[0])
    assert torch.equal(plain(sequence.sum()), whole.sum())
    assert torch.equal(plain(sequence.mean()), whole.mean())


@given(either)
def test_sum_and_mean_are_those_of_the_padded_rectangle(sequence: FoldedSequence) -> None:
    padded, mask = padded_reference(sequence)
    unfold = sequence.index.unfold
    torch.testing.assert_close(plain(sequence.sum()), unfold(padded.sum(1)))
    mean = padded.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(plain(sequence.mean()), unfold(mean))


@given(either)
@settings(max_examples=15)
def test_gradients(sequence: FoldedSequence) -> None:
    rows = sequence.rows.clone().requires_grad_()
    for part in (
        lambda rows: sequence.with_rows(rows).padded_distinct()[0],
        lambda rows: sequence.with_rows(rows).unfold().rows,
        lambda rows: plain(sequence.with_rows(rows).sum()),
        lambda rows: plain(sequence.with_rows(rows).mean()),
    ):
        assert torch.autograd.gradcheck(part, (rows,))
        assert torch.autograd.gradgradcheck(part, (rows,))


def big(dtype: torch.dtype) -> FoldedSequence:
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(100, (60,), generator=generator)
    length = torch.randint(50, (60,), generator=generator)
    index = FoldIndex(torch.randint(60, (500,), generator=generator), 60)
    return FoldedSequence(torch.randn(150, 16, generator=generator).to(dtype), start, length, index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("what", ["padded", "unfold", "sum"])
def test_number_of_threads_does_not_change_a_bit(dtype: torch.dtype, what: str) -> None:
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sequence = big(dtype)
            rows = sequence.rows.requires_grad_()
            out = {
                "padded": lambda sequence=sequence: sequence.padded_distinct()[0],
                "unfold": lambda sequence=sequence: sequence.unfold().rows,
                "sum": lambda sequence=sequence: plain(sequence.sum()),
            }[what]()
            grads = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
            out.backward(grads)
            assert rows.grad is not None
            results.append((out.detach(), rows.grad))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(results[0][0], other[0])
        assert torch.equal(results[0][1], other[1])


def test_an_empty_window_is_masked_out() -> None:
    sequence = FoldedSequence(torch.ones(2, 1), torch.tensor([0, 2]), torch.tensor([2, 0]), FoldIndex.identity(2))
    padded, mask = sequence.padded_distinct()
    assert mask.tolist() == [[True, True], [False, False]]
    assert padded[1].tolist() == [[0.0], [0.0]]
    assert sequence.mean().tolist() == [[1.0], [0.0]]


def test_sequences_of_a_group_share_what_is_known_of_their_windows() -> None:
    items = big(torch.float32)
    actions = items.with_rows(torch.zeros(150, 2))
    assert items.padded_distinct()[1] is actions.padded_distinct()[1]
    assert items.unfold().start is actions.unfold().start
    assert items.unfold().padded_distinct()[1] is actions.unfold().padded_distinct()[1]


def test_identity_unfolds_to_itself() -> None:
    sequence = FoldedSequence(torch.ones(2, 1), torch.tensor([0]), torch.tensor([2]), FoldIndex.identity(1))
    assert sequence.unfold() is sequence


def test_a_sequence_longer_than_the_width() -> None:
    sequence = FoldedSequence(torch.ones(3, 1), torch.tensor([0]), torch.tensor([3]), FoldIndex.identity(1))
    with pytest.raises(InputError) as error:
        sequence.padded_distinct(2)
    assert str(error.value) == (
        "a sequence is longer than the padded width; got 3; expected at most 2; "
        "truncate the feature (transform 'truncate') or raise the width"
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rows": torch.tensor(1.0)}, "rows of a FoldedSequence need an axis; got a single number"),
        (
            {"start": torch.tensor([0, 1])},
            "start of a FoldedSequence does not fit its index; got 2; expected 1, one per distinct sequence",
        ),
        ({"length": torch.tensor([1]).int()}, "length of a FoldedSequence must be int64; got int32"),
        (
            {"rows": torch.ones(3, 1, device="meta")},
            "the tensors of a FoldedSequence lie on different devices; got rows on meta, start on cpu, "
            "length on cpu; move them with .to()",
        ),
    ],
)
def test_broken_invariants(changes: dict[str, torch.Tensor], message: str) -> None:
    arguments = {"rows": torch.ones(3, 1), "start": torch.tensor([0]), "length": torch.tensor([3]), **changes}
    with pytest.raises(InputError) as error:
        FoldedSequence(index=FoldIndex.identity(1), **arguments)
    assert str(error.value) == message


def test_other_rows_must_be_as_many() -> None:
    with pytest.raises(InputError) as error:
        big(torch.float32).with_rows(torch.ones(3, 1))
    assert str(error.value) == "other rows of a FoldedSequence must be as many; got shape [3, 1]; expected 150 rows"
