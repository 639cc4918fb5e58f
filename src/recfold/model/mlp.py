"""Multi-layer perceptrons."""

import functools
from collections.abc import Callable
from itertools import pairwise

from torch import nn

from recfold.batch.sample_linear import SampleLinear
from recfold.spec import unknown

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": functools.partial(nn.ReLU, inplace=True),  # a linear layer does not need its output any more
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "sigmoid": nn.Sigmoid,
}


def mlp(widths: tuple[int, ...], *, activation: str = "relu", dropout: float = 0.0, last: bool = True) -> nn.Sequential:
    """Linear layers with an activation, and dropout where asked for, after each.

    Args:
        widths: of the input, of every hidden layer and of the output.
        last: whether the activation and dropout follow the last layer too.

    >>> [type(layer).__name__ for layer in mlp((3, 4, 1), last=False)]
    ['SampleLinear', 'ReLU', 'SampleLinear']
    """
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    layers: list[nn.Module] = []
    for number, (width_in, width_out) in enumerate(pairwise(widths), start=2):
        layers.append(SampleLinear(width_in, width_out))
        if last or number < len(widths):
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
