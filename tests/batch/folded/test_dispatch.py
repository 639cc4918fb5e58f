import pytest
import torch
from torch.nn import functional

from recfold.batch import Folded, FoldIndex
from recfold.batch.folded.names import INPLACE_FLAG, NAMES
from recfold.spec import InputError


def folded() -> Folded:
    return Folded(torch.tensor([[-1.0, 2.0], [3.0, -4.0]]), FoldIndex(torch.tensor([1, 0, 1]), 2))


def test_a_flag_for_in_place_counts_by_position_and_by_name() -> None:
    for change in (
        lambda x: functional.leaky_relu(x, 0.5, True),
        lambda x: functional.leaky_relu(x, 0.5, inplace=True),
    ):
        x = folded()
        out = change(x)
        assert out is x or out.values is x.values
        assert x.values.tolist() == [[-0.5, 2.0], [3.0, -2.0]]
    assert functional.leaky_relu in INPLACE_FLAG


def test_the_first_argument_may_have_a_name() -> None:
    x = folded()
    assert isinstance(torch.relu(input=x), Folded)
    assert isinstance(functional.linear(input=x, weight=torch.ones(1, 2)), Folded)
    assert isinstance(torch.unbind(input=x, dim=1)[0], Folded)
    assert isinstance(torch.cat(tensors=[x, x], dim=1), Folded)


def test_writing_to_lists_of_folded_tensors_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be done in place on a Folded tensor"):
        torch._foreach_add_([folded()], 1.0)
    with pytest.raises(InputError, match="out= cannot be a Folded tensor"):
        torch.add(folded(), 1.0, out=folded())


def test_operators_functions_and_methods_have_one_name() -> None:
    for spelling in (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__):
        assert NAMES[spelling] == "add"
    assert NAMES[torch.Tensor.__iadd__] == NAMES[torch.Tensor.add_] == "add_"


def test_an_ordinary_tensor_takes_folded_values_in_place() -> None:
    plain = torch.zeros(3, 2)
    plain += folded()
    plain[:, 0] = folded()[:, 1]
    assert plain.tolist() == [[-4.0, -4.0], [2.0, 2.0], [-4.0, -4.0]]


def test_a_mask_of_the_same_rows_writes_a_number() -> None:
    x = folded()
    x[x < 0] = 0.0
    assert x.values.tolist() == [[0.0, 2.0], [3.0, 0.0]]
