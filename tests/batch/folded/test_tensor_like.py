import copy

import numpy as np
import pytest
import torch

from recfold.batch import Folded, FoldIndex
from recfold.spec import InputError

INDEX = FoldIndex(torch.tensor([1, 0, 1]), 2)


def folded() -> Folded:
    return Folded(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), INDEX)


def test_it_answers_what_modules_ask_a_tensor() -> None:
    x, plain = folded(), folded().unfold()
    for name in (
        "shape",
        "dtype",
        "device",
        "layout",
        "ndim",
        "requires_grad",
        "is_leaf",
        "is_nested",
        "is_sparse",
        "is_cuda",
    ):
        assert getattr(x, name) == getattr(plain, name), name
    for name in (
        "dim",
        "size",
        "numel",
        "nelement",
        "element_size",
        "is_floating_point",
        "is_complex",
        "is_contiguous",
        "stride",
    ):
        assert getattr(x, name)() == getattr(plain, name)(), name
    assert (len(x), x.size(-1), x.grad) == (3, 2, None)
    assert torch.equal(x.T.unfold(), plain.T)
    assert torch.equal(x.mT.unfold(), plain.mT)
    assert torch.equal(x.H.unfold(), plain.H)
    assert torch.equal(x.data.unfold(), plain)


def test_numbers_arrays_and_lists() -> None:
    x = folded()
    assert x.tolist() == [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
    assert np.asarray(x).tolist() == x.numpy().tolist() == x.tolist()
    assert [row.tolist() for row in x] == x.tolist()
    assert float(x.sum()) == x.sum().item() == 17.0
    assert bool((x > 0).all())


def test_unfold_with_windows_is_that_of_a_tensor() -> None:
    assert torch.equal(folded().unfold(1, 2, 1), folded().unfold().unfold(1, 2, 1))


def test_what_means_nothing_is_refused() -> None:
    x = folded()
    with pytest.raises(InputError, match="requires_grad_ of a Folded tensor means nothing"):
        x.requires_grad_()
    with pytest.raises(AttributeError, match="has no attribute 'colour', nor has a tensor"):
        _ = x.colour
    with pytest.raises(AttributeError):
        x.values = torch.ones(2, 2)  # type: ignore[misc]
    assert copy.copy(x).values is x.values
