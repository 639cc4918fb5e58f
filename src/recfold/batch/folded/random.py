"""Functions that draw random numbers: every sample has its own, unless a module asks to share them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from recfold.batch.folded.align import on_values
from recfold.batch.folded.dispatch import Call, Why, rule
from recfold.batch.folded.folded import Folded

_SHARED: ContextVar[bool] = ContextVar("recfold_shared_masks", default=False)
DRAWS = Why("it draws random numbers for every sample")


@contextmanager
def shared_masks() -> Iterator[None]:
    """Inside, samples that share a row share what is drawn for it (dropout masks and the like).

    That is another distribution than an ordinary network's: a choice of the model, never made for it.
    """
    token = _SHARED.set(True)
    try:
        yield
    finally:
        _SHARED.reset(token)


def draws_masks() -> bool:
    """Whether random numbers are drawn per sample."""
    return not _SHARED.get()


def share_masks(module: nn.Module) -> nn.Module:
    """Let a module, and all inside it, draw once per distinct row (see `shared_masks`); gives the module back."""
    contexts: list[Any] = []

    def enter(module: nn.Module, args: Any) -> None:
        context = shared_masks()
        context.__enter__()
        contexts.append(context)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        contexts.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)
    return module


# name -> position of `training`, and its default
_WHILE_TRAINING = {
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout"),
        (2, True),
    ),
    "rrelu": (3, False),
}
_PER_ROW = ("dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "feature_dropout")


@rule(*_WHILE_TRAINING)
def while_training(call: Call) -> Any:
    own = call.arg(0, "input")
    position, default = _WHILE_TRAINING[call.name or ""]
    training = call.arg(position, "training", call.kwargs.get("train", default))
    drawing = training and (call.name == "rrelu" or call.arg(1, "p", 0.5) > 0)
    if drawing and draws_masks():
        return DRAWS
    if drawing and call.name in _PER_ROW and own.batch_axis != 0:
        return Why("its batch is not axis 0")
    return on_values(call, own.batch_axis)


@rule("gumbel_softmax", "bernoulli", "rand_like", "randn_like")
def always(call: Call) -> Any:
    own = call.arg(0, "input", call.kwargs.get("logits"))
    if draws_masks() or not isinstance(own, Folded) or len(call.operands()) > 1:
        return DRAWS
    if call.name == "gumbel_softmax" and call.arg(4, "dim", -1) % own.ndim == own.batch_axis:
        return Why("it works along the batch axis")
    return on_values(call, own.batch_axis)
