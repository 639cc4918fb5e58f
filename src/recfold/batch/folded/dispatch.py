"""Where every torch function that meets a tensor-like arrives: it has a rule, or its arguments are unfolded."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import recfold.batch.folded.tensor_like as likes
from recfold.batch.folded import loans, watch
from recfold.batch.folded.names import IN_PLACE, INPLACE_FLAG, NAMES
from recfold.batch.refinement import check_same_batch
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
    if torch.compiler.is_compiling():
        from recfold.batch.folded.compiled import uncompiled  # loaded by `Folded`

        return uncompiled(func, args, kwargs)
    refuse_autograd_function()
    if isinstance(func, (torch.jit.ScriptFunction, torch.jit.ScriptModule, torch.ScriptMethod)):
        raise InputError(
            "a scripted module got a Folded tensor, which it cannot see through",
            todo="call .unfold() on its input, or use the module unscripted",
        )
    call = _call(func, args, kwargs)
    if watch.active():
        return watch.watched(call, lambda: _answer(call))
    return _answer(call)


def _call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """A call whose first tensor comes by position and whose `inplace` by name, however they were given."""
    if not args:
        first = next((key for key in _FIRST if key in kwargs), None)
        if first is not None:
            args, kwargs = (kwargs[first],), {key: value for key, value in kwargs.items() if key != first}
    at = INPLACE_FLAG.get(func)
    if at is not None and len(args) > at:
        kwargs, args = {**kwargs, "inplace": args[at]}, (*args[:at], *args[at + 1 :])
    return Call(NAMES.get(func), func, args, kwargs)


_FIRST = ("input", "self", "tensor", "tensors")


def _answer(call: Call) -> Any:
    if call.kwargs.get("out") is not None:
        _check_out(call)
    operands = call.operands()
    few = False
    for operand in operands:
        if isinstance(operand, likes.TensorLike):
            operand.check_unchanged()
            few = few or operand.num_samples < 2
    answer: Any = Why("no rule for it")
    copies: Copies = []
    name = call.name
    if name is not None:
        if any(isinstance(given, likes.Lazy) for given in operands):
            for lazy_rule in () if few else LAZY_RULES.get(name, ()):
                answer = lazy_rule(call)
                if not isinstance(answer, Why):
                    return answer
            if name not in IN_PLACE and not call.kwargs.get("inplace"):
                call = call.mapped(lambda given: _settled(given, copies))
                if not any(isinstance(given, likes.TensorLike) for given in call.operands()):
                    watch.unfolded(answer.reason)
                    return _lent(call.run(), copies)
        own = RULES.get(name)
        if few and name not in IN_PLACE:
            answer = Why("there is one sample, or none")
        elif own is not None and not any(isinstance(given, likes.Lazy) for given in call.operands()):
            answer = own(call)
            if not isinstance(answer, Why):
                return _lent(answer, copies)
    return unfold_all(call, answer, copies)


Copies = list[tuple["likes.TensorLike", Any]]
"""Tensor-likes, and what was copied from each for the call."""


def _settled(given: Any, copies: Copies) -> Any:
    if not isinstance(given, likes.Lazy):
        return given
    found = given.on_loan()
    found = given.settled() if found is None else found
    copies.append((given, found))
    return found


def unfold_all(call: Call, why: Why, copies: Copies) -> Any:
    """The ordinary function on ordinary tensors.

    Raises:
        InputError: the function changes a folded argument in place: that cannot be done on a copy.
    """
    name = getattr(call.func, "__name__", str(call.func))
    target = call.args[0] if call.args else None
    writes = name.endswith("_") and not name.endswith("__")
    writes = writes or name in ("__setitem__",) or (name.startswith("__i") and name not in ("__invert__", "__index__"))
    if likes.tensor_likes(target) and (writes or call.kwargs.get("inplace")):
        raise InputError(
            f"{name.strip('_')} cannot be done in place on a Folded tensor: {why.reason}",
            todo="use the form that is not in place, or call .unfold() first",
        )
    if call.func is torch.autograd.grad and likes.tensor_likes(call.arg(1, "inputs")):
        raise InputError(
            "a gradient with respect to a Folded tensor is asked for, which is no leaf of the graph",
            todo="ask for that of its .values, or of the tensor it was made from",
        )
    _check_batches(call)
    watch.unfolded(why.reason)

    def unfolded(given: Any) -> Any:
        if not isinstance(given, likes.TensorLike):
            return given
        found = given.on_loan()
        found = given.unfold() if found is None else found
        copies.append((given, found))
        copies.extend([(lazy, found) for lazy, settled in copies if settled is given])
        return found

    return _lent(call.mapped(unfolded).run(), copies)


def _lent(result: Any, copies: Copies) -> Any:
    """A result; where it is a view of a copy, what was copied is told (see `loans`)."""
    if not copies or result is None or isinstance(result, (bool, int, float)):
        return result
    leaves: list[Any] = []
    _collect(result if isinstance(result, (list, tuple, dict)) else [result], leaves)
    for leaf in leaves:
        for own, copy in copies:
            for out in leaf.held if isinstance(leaf, likes.TensorLike) else (leaf,):
                copied = copy.held if isinstance(copy, likes.TensorLike) else (copy,)
                if any(loans.share_memory(out, tensor) for tensor in copied):
                    own.lend(out, None if isinstance(copy, likes.TensorLike) else copy)
    return result


def _check_batches(call: Call) -> None:
    own = [index for given in likes.tensor_likes((call.args, call.kwargs)) for index in given.indexes]
    for index in own[1:]:
        if index is not own[0] and index.num_samples == own[0].num_samples:
            check_same_batch(own[0], index)


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


def refuse_autograd_function() -> None:
    """The forward of a custom autograd function runs without gradients: it would take Folded tensors for constants.

    Raises:
        InputError: this is called in one.
    """
    if torch.is_grad_enabled():
        return
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _APPLY:
            raise InputError(
                "a custom autograd.Function (or reentrant checkpointing) got a Folded tensor, whose gradient it would "
                "lose",
                todo="call .unfold() on its input; for checkpointing use use_reentrant=False",
            )
        frame = frame.f_back


def axis_of(axis: int, ndim: int) -> int:
    """An axis counted from the first.

    Raises:
        IndexError: there is no such axis, as torch says.
    """
    if not -ndim <= axis < ndim:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {axis})")
    return axis % ndim


def entries_of(chosen: Tensor, size: int, lowest: int) -> Tensor:
    """Numbers of entries of an axis, counted from the first.

    Args:
        lowest: the least number that is allowed: 0, or -size.
    Raises:
        IndexError: one is outside the axis.
    """
    low, high = (int(bound) for bound in chosen.aminmax())
    if low < lowest or high >= size:
        raise IndexError(f"index {low if low < lowest else high} is out of bounds for dimension with size {size}")
    return chosen % size if low < 0 else chosen


def sequence_of(given: Any) -> Sequence[Any]:
    """Arguments that may be one value or a list of them."""
    return given if isinstance(given, (list, tuple, torch.Size)) else (given,)
