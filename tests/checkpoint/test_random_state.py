"""The generators of torch, numpy and Python go on where they were saved."""

import random

import numpy as np
import torch

from recfold.checkpoint import flatten, random_state, set_random_state, unflatten


def draw() -> tuple[list[float], list[float], float]:
    # the process-wide generators are what is saved
    return torch.rand(3).tolist(), np.random.normal(size=3).tolist(), random.random()  # noqa: NPY002


def test_every_generator_goes_on_after_flattening() -> None:
    before = random_state()
    np.random.normal()  # noqa: NPY002  leaves half a Gaussian pair in the state
    saved = flatten(random_state(), "random")
    first = draw()
    assert draw() != first
    set_random_state(unflatten(*saved))
    assert draw() == first
    set_random_state(before)
