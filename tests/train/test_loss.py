"""The loss by hand, and labels that it cannot take."""

import math

import pytest
import torch

from recfold.batch import Batch
from recfold.spec import InputError
from recfold.train.loss import check_labels, total_weight, weighted_loss


def batch(labels: list[list[float]], weight: list[float] | None = None) -> Batch:
    names = ("click", "like", "buy")[: len(labels[0])]
    return Batch({}, torch.tensor(labels), names, None if weight is None else torch.tensor(weight))


def bce(z: float, y: float) -> float:
    p = 1 / (1 + math.exp(-z))
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def test_labels_add_up_with_their_weights_per_unit_of_sample_weight() -> None:
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    own = batch([[1.0, 0.0], [0.0, 0.25]], [1.0, 3.0])
    loss = weighted_loss(logits, own, torch.tensor([1.0, 0.5]))
    by_hand = (1 * (bce(0.5, 1) + 0.5 * bce(-1, 0)) + 3 * (bce(2, 0) + 0.5 * bce(0, 0.25))) / 4
    assert float(loss) == pytest.approx(by_hand, rel=1e-12)


def test_without_weights_it_is_the_mean() -> None:
    loss = weighted_loss(torch.zeros(4, 1, dtype=torch.float64), batch([[1.0], [0.0], [1.0], [0.0]]), torch.ones(1))
    assert float(loss) == pytest.approx(math.log(2))


def test_a_batch_without_weight_has_loss_zero() -> None:
    logits = torch.ones(2, 1, requires_grad=True)
    loss = weighted_loss(logits, batch([[1.0], [0.0]], [0.0, 0.0]), torch.ones(1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0], [0.0]]


def test_total_weight_counts_samples_or_adds_weights() -> None:
    assert total_weight(batch([[1.0], [0.0]])) == 2.0
    assert total_weight(batch([[1.0], [0.0]], [0.5, 3.0])) == 3.5


@pytest.mark.parametrize(("value", "shown"), [(2.0, "value 2"), (-0.5, "value -0.5"), (math.nan, "null")])
def test_labels_outside_zero_and_one_are_refused(value: float, shown: str) -> None:
    with pytest.raises(InputError, match=f"label 'like' cannot be trained with cross entropy; got {shown}"):
        check_labels(batch([[1.0, 0.5], [0.0, value]]))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_wrong_sample_weights_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="a sample's weight is wrong"):
        check_labels(batch([[1.0], [0.0]], [1.0, value]))


def test_labels_between_are_taken() -> None:
    check_labels(batch([[0.0], [1.0], [0.3]], [0.0, 1.0, 2.0]))
