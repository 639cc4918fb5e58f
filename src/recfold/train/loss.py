"""The loss of a step: binary cross entropy of every label, weighted, per unit of sample weight.

    loss = sum over samples b and labels l of  w_b c_l BCE(logits_bl, y_bl)  /  sum over samples of w_b

Both sums are over the samples of all ranks.

w_b is the sample's weight (1 where the log has none), c_l the label's. A batch without weight has loss 0.
"""

import torch
from torch import Tensor
from torch.nn import functional

from recfold.batch import Batch
from recfold.spec import InputError


def check_labels(batch: Batch) -> None:
    """Labels of cross entropy lie in [0, 1], and weights are finite and not negative.

    Raises:
        InputError: it names the label and the worst value.
    """
    inside = (batch.labels >= 0) & (batch.labels <= 1)  # NaN is not inside
    if not bool(inside.all()):
        sample, label = (~inside).nonzero()[0].tolist()
        raise InputError(
            f"label {batch.label_names[label]!r} cannot be trained with cross entropy",
            got="null" if batch.labels[sample, label].isnan() else f"value {batch.labels[sample, label].item():g}",
            expected="0, 1 or something between",
            todo="use 'seen' instead of 'value' for it, or scale the label",
        )
    if batch.weight is not None and not bool(((batch.weight >= 0) & batch.weight.isfinite()).all()):
        wrong = batch.weight[~((batch.weight >= 0) & batch.weight.isfinite())][0].item()
        raise InputError("a sample's weight is wrong", got=f"{wrong:g}", expected="a finite number >= 0")


def total_weight(batch: Batch) -> float:
    """Sum of the sample weights of a batch."""
    return float(batch.num_samples) if batch.weight is None else float(batch.weight.to(torch.float64).sum())


def summed_loss(logits_BL: Tensor, batch: Batch, label_weights_L: Tensor) -> Tensor:
    """The numerator of the loss defined above, a scalar of the logits' dtype; `batch` is on their device."""
    each_BL = functional.binary_cross_entropy_with_logits(logits_BL, batch.labels.to(logits_BL.dtype), reduction="none")
    each_B = each_BL @ label_weights_L.to(each_BL)
    if batch.weight is not None:
        each_B = each_B * batch.weight.to(each_B)
    return each_B.sum()


def weighted_loss(logits_BL: Tensor, batch: Batch, label_weights_L: Tensor) -> Tensor:
    """The loss defined above of a batch of one process."""
    return summed_loss(logits_BL, batch, label_weights_L) / (total_weight(batch) or 1.0)
