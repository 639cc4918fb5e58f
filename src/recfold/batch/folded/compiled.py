"""What `torch.compile` does with folded tensors: it leaves them to the ordinary interpreter, and says so once.

Imported where the compiler is loaded already: this loads it.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from recfold.batch.folded.dispatch import dispatch


@torch.compiler.disable(reason="a Folded tensor is no tensor to the compiler")
def uncompiled(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """One call on folded tensors, run as without `torch.compile`."""
    _tell_once()
    return dispatch(func, args, kwargs)


@torch.compiler.disable(reason="a Folded tensor is no tensor to the compiler")
def written_out(own: Any) -> Any:
    """What `own.unfold()` gives, run as without `torch.compile`."""
    return own.unfold()


def _tell_once() -> None:
    if not _TOLD:
        _TOLD.append(True)
        warnings.warn(
            "torch.compile leaves operations on Folded tensors uncompiled: results are right, but nothing of them is "
            "fused; compile the modules that take ordinary tensors, or pass .unfold() to the model",
            stacklevel=4,
        )


_TOLD: list[bool] = []
