"""The optimizer of the dense part and its learning-rate schedule: torch's own, by name."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from recfold.spec import InputError, unknown
from recfold.train.settings import DenseOptimizer, Schedule


def optimizer_names() -> tuple[str, ...]:
    """Optimizers of torch that can train the dense part.

    Not LBFGS, which evaluates the loss several times a step, and not SparseAdam, which takes sparse gradients only.

    >>> "Adam" in optimizer_names(), "LBFGS" in optimizer_names()
    (True, False)
    """
    return _subclasses(torch.optim, torch.optim.Optimizer, without={"LBFGS", "SparseAdam"})


def schedule_names() -> tuple[str, ...]:
    """`constant`, `warmup_cosine`, and the schedules of torch that are plain options.

    >>> {"constant", "StepLR"} <= set(schedule_names())
    True
    """
    # made of functions, of other schedules, or stepped with a metric: not options that a file can say
    without = {"LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"}
    return ("constant", "warmup_cosine", *_subclasses(lr_scheduler, lr_scheduler.LRScheduler, without=without))


def build_optimizer(parameters: Iterable[nn.Parameter], settings: DenseOptimizer) -> torch.optim.Optimizer:
    """The optimizer that the settings name.

    Raises:
        InputError: no such optimizer, an option it does not have, or a value it refuses.

    Example:
        >>> build_optimizer([], DenseOptimizer(name="Adm"))
        Traceback (most recent call last):
            ...
        recfold.spec.errors.InputError: unknown dense optimizer 'Adm'; expected one of ...; did you mean 'Adam'?
    """
    if settings.name not in optimizer_names():
        raise unknown("dense optimizer", settings.name, optimizer_names())
    make = getattr(torch.optim, settings.name)
    own = list(parameters)
    # one pass over each parameter in place of one per operation, where all of them lie where that exists
    fused = "fused" in inspect.signature(make).parameters and own and _can_fuse(own)
    defaults = {"fused": True} if fused and not {"foreach", "fused"} & settings.options.keys() else {}
    # one group, so that a model without dense parameters is fine too
    return _build(make, settings, "dense optimizer", [{"params": own}], **defaults)


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)


def build_schedule(
    optimizer: torch.optim.Optimizer, settings: Schedule, updates: int
) -> lr_scheduler.LRScheduler | None:
    """The schedule that the settings name; None for a constant rate.

    Args:
        updates: dense updates of the whole run: where `warmup_cosine` ends if it is not told.
    Raises:
        InputError: no such schedule, an option it does not have, or a value it refuses.
    """
    if settings.name not in schedule_names():
        raise unknown("schedule", settings.name, schedule_names())
    if settings.name == "warmup_cosine":
        rate = _build(WarmupCosine, settings, "schedule", None, total=updates)
        return lr_scheduler.LambdaLR(optimizer, rate)
    if settings.name == "constant":
        if settings.options:
            raise InputError("the constant schedule has no options", got=", ".join(settings.options))
        return None
    return _build(getattr(lr_scheduler, settings.name), settings, "schedule", optimizer)


class WarmupCosine:
    """Share of the learning rate at each update; an object, so that its numbers are kept in checkpoints.

    Args:
        total: update at which it ends.
        warmup: updates over which the rate rises linearly; update 0 has 1 / warmup of it.
        floor: share that is left at the end.

    Example:
        >>> rate = WarmupCosine(total=6, warmup=2)
        >>> [round(rate(step), 3) for step in range(8)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    def __init__(self, total: int, warmup: int = 0, floor: float = 0.0) -> None:
        if not (warmup >= 0 and total > 0 and 0 <= floor <= 1):
            raise ValueError(f"needs warmup >= 0, total > 0, 0 <= floor <= 1, got {warmup}, {total}, {floor}")
        self.total, self.warmup, self.floor = total, warmup, floor

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min((step - self.warmup) / max(self.total - self.warmup, 1), 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


def _build(make: Any, settings: DenseOptimizer | Schedule, noun: str, target: object, **defaults: Any) -> Any:
    first, *known = inspect.signature(make).parameters
    names = known if target is not None else [first, *known]
    for name in settings.options:
        if name not in names:
            raise unknown(f"option of {noun} {settings.name}", name, names)
    options = {
        name: tuple(value) if isinstance(value, list) and name == "betas" else value
        for name, value in settings.options.items()
    }
    arguments = [] if target is None else [target]
    try:
        return make(*arguments, **{**defaults, **options})
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{noun} {settings.name} refuses its options", got=f"{settings.options}: {error}") from None


def _subclasses(module: Any, base: type, *, without: set[str]) -> tuple[str, ...]:
    found = {name: getattr(module, name, None) for name in module.__all__}
    return tuple(
        sorted(
            name
            for name, kind in found.items()
            if isinstance(kind, type) and issubclass(kind, base) and kind is not base and name not in without
        )
    )
