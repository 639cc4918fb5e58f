"""Where every torch function that meets a tensor-like arrives: it has a rule, or its arguments are unfolded."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import recfold.batch.folded.tensor_like as likes
from recfold.batch.folded import watch
from recfold.batch.folded.names import IN_PLACE, NAMES
from recfold.spec import InputError


@dataclass(frozen=True, slots=True)
class Why:
    """A rule's answer that it does not apply, and the reason, for `explain`."""

    reason: str


class Call:
    """One call of a torch function; a value.

    Args:
        name: as `names` lists it, without underscores; None for a function that no rule knows.
    """

    __slots__ = ("_operands", "args", "func", "kwargs", "name")

    def __init__(
        self, name: str | None, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self._operands: list[Any] | None = None

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def operands(self) -> list[Any]:
        """Every tensor and tensor-like among the arguments, in order."""
        if self._operands is None:
            self._operands = []
            _collect(self.args, self._operands)
            if self.kwargs:
                _collect(dict(self.kwargs), self._operands)
        return self._operands

    def mapped(self, change: Callable[[Any], Any]) -> "Call":
        """The same call with every tensor and tensor-like changed."""
        return Call(self.name, self.func, _mapped(self.args, change), _mapped(self.kwargs, change))

    def run(self) -> Any:
        """What the function gives; the methods of Tensor cannot be called on a tensor-like."""
        if any(isinstance(operand, likes.TensorLike) for operand in self.operands()):
            return _answer(self)
        return self.func(*self.args, **self.kwargs)


Rule = Callable[[Call], Any]
"""What a function gives on folded arguments, or Why it has to be unfolded."""

RULES: dict[str, Rule] = {}
"""Function -> rule, for calls whose tensor-likes are all Folded."""

LAZY_RULES: dict[str, list[Rule]] = {}
"""Function -> rules, for calls with a lazy concatenation or product among the arguments; the first that applies."""


def rule(*names: str, lazy: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for these functions."""

    def register(own: Rule) -> Rule:
        for name in names:
            if lazy:
                LAZY_RULES.setdefault(name, []).append(own)
            else:
                RULES[name] = own
        return own

    return register


def dispatch(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Answer one call.

    Raises:
        InputError: the call would bypass folding and lose gradients (a custom autograd function, reentrant
            checkpointing, a scripted module), or would write per-sample values into folded rows.
    """
    if not torch.is_grad_enabled():
        _refuse_autograd_function()
    if isinstance(func, (torch.jit.ScriptFunction, torch.jit.ScriptModule, torch.ScriptMethod)):
        raise InputError(
            "a scripted module got a Folded tensor, which it cannot see through",
            todo="call .unfold() on its input, or use the module unscripted",
        )
    call = Call(NAMES.get(func), func, args, kwargs)
    if watch.active():
        return watch.watched(call, lambda: _answer(call))
    return _answer(call)


def _answer(call: Call) -> Any:
    if call.kwargs.get("out") is not None:
        _check_out(call)
    answer: Any = Why("no rule for it")
    if call.name is not None:
        if any(isinstance(given, likes.Lazy) for given in call.operands()):
            for lazy_rule in LAZY_RULES.get(call.name, ()):
                answer = lazy_rule(call)
                if not isinstance(answer, Why):
                    return answer
            if call.name not in IN_PLACE:
                call = call.mapped(lambda given: given.settled() if isinstance(given, likes.Lazy) else given)
                if not any(isinstance(given, likes.TensorLike) for given in call.operands()):
                    watch.unfolded(answer.reason)
                    return call.run()
        own = RULES.get(call.name or "")
        if own is not None:
            answer = own(call)
            if not isinstance(answer, Why):
                return answer
    return unfold_all(call, answer)


def unfold_all(call: Call, why: Why) -> Any:
    """The ordinary function on ordinary tensors.

    Raises:
        InputError: the function changes a folded argument in place: that cannot be done on a copy.
    """
    name = getattr(call.func, "__name__", str(call.func))
    target = call.args[0] if call.args else None
    writes = name.endswith("_") and not name.endswith("__")
    writes = writes or name in ("__setitem__",) or (name.startswith("__i") and name not in ("__invert__", "__index__"))
    if isinstance(target, likes.TensorLike) and (writes or call.kwargs.get("inplace")):
        raise InputError(
            f"{name.strip('_')} cannot be done in place on a Folded tensor: {why.reason}",
            todo="use the form that is not in place, or call .unfold() first",
        )
    watch.unfolded(why.reason)
    return call.mapped(lambda given: given.unfold() if isinstance(given, likes.TensorLike) else given).run()


def _check_out(call: Call) -> None:
    if likes.tensor_likes(call.kwargs["out"]):
        raise InputError("out= cannot be a Folded tensor", todo="use what the function returns")


def _collect(given: Any, into: list[Any]) -> None:
    for value in given.values() if isinstance(given, dict) else given:
        if isinstance(value, (Tensor, likes.TensorLike)):
            into.append(value)
        elif isinstance(value, (list, tuple, dict)):
            _collect(value, into)


def _mapped(given: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(given, (Tensor, likes.TensorLike)):
        return change(given)
    if isinstance(given, dict):
        return {key: _mapped(value, change) for key, value in given.items()}
    if type(given) in (list, tuple):
        return type(given)(_mapped(value, change) for value in given)
    return given


_APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


def _refuse_autograd_function() -> None:
    """The forward of a custom autograd function runs without gradients: it would take Folded tensors for constants."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code is _APPLY:
            raise InputError(
                "a custom autograd.Function (or reentrant checkpointing) got a Folded tensor, whose gradient it would "
                "lose",
                todo="call .unfold() on its input; for checkpointing use use_reentrant=False",
            )
        frame = frame.f_back


def sequence_of(given: Any) -> Sequence[Any]:
    """Arguments that may be one value or a list of them."""
    return given if isinstance(given, (list, tuple, torch.Size)) else (given,)
