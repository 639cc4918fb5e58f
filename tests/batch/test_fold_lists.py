import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recfold.batch import KeyedJaggedTensor, offsets_of
from recfold.batch.fold_lists import (
    first_occurrences,
    first_occurrences_reference,
    hash_samples,
    splitmix64_tensor,
)
from recfold.spec import splitmix64

EXTREMES = [-(2**63), 2**63 - 1, 0, -1, 1]


def one_key(rows: list[list[int]]) -> KeyedJaggedTensor:
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return KeyedJaggedTensor(["a"], values, offsets_of(lengths))


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EXTREMES), max_size=20))
def test_splitmix64_is_that_of_the_arrays(values: list[int]) -> None:
    ours = splitmix64_tensor(torch.tensor(values, dtype=torch.int64)).numpy().view(np.uint64)
    assert (ours == splitmix64(np.array(values, dtype=np.int64))).all()


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0])), max_size=3), max_size=10),
    st.booleans(),
    st.integers(1, 4),
)
def test_colliding_hashes_are_told_apart(rows: list[list[tuple[int, float]]], weighted: bool, num_hashes: int) -> None:
    kjt = one_key([[value for value, _ in row] for row in rows])
    if weighted:
        weights = torch.tensor([weight for row in rows for _, weight in row])
        kjt = KeyedJaggedTensor(kjt.keys, kjt.values, kjt.offsets, weights)

    def bad_hash(kjt: KeyedJaggedTensor) -> torch.Tensor:
        return hash_samples(kjt) % num_hashes

    for ours, theirs in zip(first_occurrences(kjt, bad_hash), first_occurrences_reference(kjt), strict=True):
        assert torch.equal(ours, theirs)


def test_hash_tells_order_length_and_key_apart() -> None:
    rows = [[], [0], [0, 0], [1, 2], [2, 1], [1, 2, 0], [-(2**63)], [2**63 - 1]]
    assert len(set(hash_samples(one_key(rows)).tolist())) == len(rows)
    two_keys = KeyedJaggedTensor(["a", "b"], torch.tensor([1, 2, 2, 1]), torch.arange(5))
    assert len(set(hash_samples(two_keys).tolist())) == 2


def test_hash_sees_the_bits_of_weights() -> None:
    weights = torch.tensor([0.0, -0.0, 1.0, float("nan")])
    kjt = KeyedJaggedTensor(["a"], torch.zeros(4, dtype=torch.int64), torch.arange(5), weights)
    assert len(set(hash_samples(kjt).tolist())) == 4
