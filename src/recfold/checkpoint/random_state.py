"""The states of the random generators of this process: torch (CPU and every CUDA device), numpy and Python."""

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Everything that `set_random_state` needs; values that `flatten` takes.

    Example:
        >>> state = random_state()
        >>> first = torch.rand(3)
        >>> set_random_state(state)
        >>> bool((torch.rand(3) == first).all())
        True
    """
    return {
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(legacy=True),  # noqa: NPY002  the process-wide generator is what is saved
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set every generator that this machine has to a state of `random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])
