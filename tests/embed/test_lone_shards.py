"""Shards to be measured do what tables in training do, in memory that is used again."""

import pytest
import torch

from recfold.embed import Bags, LoneShards, SharedStorage, lookup_reference
from recfold.embed.shared_storage import UntouchedMemory
from recfold.spec import InputError

BAGS = [
    Bags(torch.tensor([7, 9, 9, 4]), torch.tensor([0, 2, 4])),
    Bags(torch.tensor([1, 0]), torch.tensor([0, 0, 2])),
    Bags(torch.tensor([3]), torch.tensor([0, 1])),
]
SHAPES = [(10, 8), (4, 4), (5, 16)]


@pytest.mark.parametrize("kernel", ["torch", "auto"])
@pytest.mark.parametrize("stored", [False, True])
def test_sums_are_of_the_weights_and_rows_that_were_read_change(kernel: str, stored: bool) -> None:
    storage = SharedStorage(4 * 200) if stored else None
    shards = LoneShards(SHAPES, ["a", "a", None], storage=storage, kernel=kernel)  # type: ignore[arg-type]
    weights = {
        table.name: weight for own in shards.kernels for table, weight in zip(own.tables, own.weights(), strict=True)
    }
    for weight in weights.values():
        weight.normal_()
    before = {name: weight.clone() for name, weight in weights.items()}
    sums = shards.look_up(BAGS)
    for number, (bags, found) in enumerate(zip(BAGS, sums, strict=True)):
        torch.testing.assert_close(found.detach(), lookup_reference(before[str(number)], bags, "sum"))
    torch.autograd.backward(sums, [torch.ones_like(part) for part in sums])
    for number, bags in enumerate(BAGS):
        changed = (weights[str(number)] != before[str(number)]).any(1).nonzero().squeeze(1)
        assert changed.tolist() == bags.values.unique().tolist()


def test_storage_is_used_again_from_the_front() -> None:
    storage = SharedStorage(4 * 144)
    storage.numbers.fill_(3.0)
    first = LoneShards(SHAPES, ["a", "a", None], storage=storage).kernels[0].weights()[0]
    second = LoneShards(SHAPES, ["a", "a", None], storage=storage).kernels[0].weights()[0]
    if LoneShards(SHAPES, [None] * 3, storage=storage).kernels[0].name == "fbgemm":
        assert first.data_ptr() == second.data_ptr() == storage.numbers.data_ptr()
    with pytest.raises(InputError, match="does not fit the memory"):
        storage.take(37, 4)


def test_untouched_memory_is_only_for_large_zeros() -> None:
    with UntouchedMemory():
        assert torch.zeros(10).tolist() == [0.0] * 10
        assert torch.zeros(1 << 17, dtype=torch.float32).shape == (1 << 17,)
        assert torch.zeros((2, 3)).shape == (2, 3)
