import pytest
import torch

from recfold.batch import Folded, FoldIndex
from recfold.spec import InputError


def test_unfold_copies_rows_to_samples_and_sums_gradients_back() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    folded = Folded(values, FoldIndex(torch.tensor([1, 0, 1]), 2))
    plain = folded.unfold()
    assert plain.tolist() == [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    assert (folded.num_samples, folded.num_distinct) == (3, 2)
    plain.backward(torch.tensor([[1.0, 0.0], [10.0, 0.0], [100.0, 1.0]]))
    assert values.grad is not None
    assert values.grad.tolist() == [[10.0, 0.0], [101.0, 1.0]]


def test_values_that_do_not_fit_the_index() -> None:
    with pytest.raises(InputError) as error:
        Folded(torch.ones(3, 2), FoldIndex.identity(2))
    assert str(error.value) == "values of a Folded do not fit its index; got shape [3, 2]; expected 2 rows"
