import pytest
import torch

from recfold.batch import Folded, FoldedSequence, FoldIndex, ModelInputs
from recfold.spec import InputError

INDEX = FoldIndex(torch.tensor([0, 1, 1]), 2)


def example() -> ModelInputs:
    items = FoldedSequence(torch.arange(8.0).view(4, 2), torch.tensor([0, 1]), torch.tensor([2, 3]), INDEX)
    return ModelInputs(
        pooled={
            "user": Folded(torch.tensor([[1.0], [2.0]]), INDEX),
            "item": torch.ones(3, 1),
        },
        sequences={"history": {"items": items, "actions": items.with_rows(torch.zeros(4, 2))}},
        dense={"age": Folded(torch.tensor([[20.0], [30.0]]), INDEX)},
        dense_sequences={"history": {"times": items.with_rows(torch.arange(4.0).unsqueeze(1))}},
        num_samples=3,
    )


def test_unfold_writes_every_sample_out() -> None:
    inputs = example()
    plain = inputs.unfold()
    assert plain.num_samples == 3
    assert plain.pooled["user"].flatten().tolist() == [1.0, 2.0, 2.0]
    assert plain.pooled["item"] is inputs.pooled["item"]
    assert plain.dense["age"].flatten().tolist() == [20.0, 30.0, 30.0]
    items, times = plain.sequences["history"]["items"], plain.dense_sequences["history"]["times"]
    assert items.padded()[0][2].tolist() == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    assert times.padded()[0].squeeze(-1).tolist() == [[0.0, 1.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert all(isinstance(feature, torch.Tensor) for feature in (*plain.pooled.values(), *plain.dense.values()))
    assert items.index.is_identity
    assert times.index.is_identity
    assert set(plain.sequences["history"]) == {"items", "actions"}


@pytest.mark.parametrize("where", ["pooled", "dense", "sequences", "dense_sequences"])
def test_a_feature_of_another_number_of_samples(where: str) -> None:
    parts = {"pooled": {}, "sequences": {}, "dense": {}, "dense_sequences": {}}
    folded = Folded(torch.ones(2, 1), FoldIndex.identity(2))
    sequence = FoldedSequence(torch.ones(1, 1), torch.tensor([0, 0]), torch.tensor([1, 1]), FoldIndex.identity(2))
    parts[where] = {"g": {"x": sequence}} if "sequences" in where else {"x": folded}
    with pytest.raises(InputError) as error:
        ModelInputs(**parts, num_samples=3)
    assert str(error.value) == ("feature 'x' has another number of samples than the model's inputs; got 2; expected 3")
