"""Runs a model once and records which operation ran on how many rows, and where and why something was unfolded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recfold.batch.folded.dispatch import Call
from recfold.batch.folded.explanation import Explanation, Lookup, Operation, summed_up
from recfold.batch.folded.flops import FlopCount, Flops
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.lazy_concat import LazyConcat
from recfold.batch.folded.names import NAMES
from recfold.batch.folded.products import LazyProducts
from recfold.batch.folded.tensor_like import Lazy, TensorLike, tensor_likes
from recfold.batch.folded.watch import watching
from recfold.batch.folded_sequence import FoldedSequence
from recfold.batch.model_inputs import ModelInputs
from recfold.spec import InputError


def explain(model: nn.Module, *inputs: Any) -> Explanation:
    """What a model computes on how many rows, and what an ordinary one would: one forward, in the mode that it is in.

    Nothing is changed: buffers and random states are put back, and there is no backward (which costs about twice the
    forward, on the same rows).

    Args:
        inputs: of the model: `ModelInputs`, or Folded and ordinary tensors. Where none is folded, the first axis of the
            first one is that of the samples.
    Raises:
        InputError: there are no tensors among the inputs.

    Example:
        >>> from recfold.batch import FoldIndex
        >>> folded = Folded(torch.ones(2, 3), FoldIndex(torch.tensor([0, 0, 0, 1]), 2))
        >>> (linear,) = explain(nn.Linear(3, 5), folded).operations
        >>> linear.rows_used, linear.rows_needed, linear.flops_used, linear.flops_needed
        (2, 4, 60, 120)
    """
    num_samples = _num_samples(inputs)
    recorder = _Recorder(model, num_samples, _sequences(inputs))
    with ExitStack() as stack:
        stack.enter_context(_unchanged(model))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_named(model, recorder.path))
        stack.enter_context(watching(recorder))
        stack.enter_context(recorder.count)
        stack.enter_context(_OrdinaryCalls(recorder))
        model(*inputs)
    operations = [record.operation(num_samples) for record in recorder.records]
    shown = [own for own in operations if own.flops_needed or own.flops_used or own.unfolded]
    return Explanation(num_samples, tuple(_lookups(inputs)), summed_up(shown))


@dataclass(eq=False)
class _Record:
    """One operation while it is recorded.

    Args:
        rows: used and needed; None where they follow from what was computed.
    """

    module: str
    name: str
    used: Flops = field(default_factory=Flops)
    needed: Flops = field(default_factory=Flops)
    rows: tuple[int, int] | None = None
    reasons: list[str] = field(default_factory=list)

    def operation(self, num_samples: int) -> Operation:
        rows = self.rows
        if rows is None:
            used, needed = self.used.products, self.needed.products
            if not needed:
                used, needed = self.used.entries, self.needed.entries
            rows = (round(num_samples * min(1.0, used / needed)) if needed else num_samples, num_samples)
        reasons = tuple(dict.fromkeys(self.reasons))
        return Operation(self.module, self.name, 1, *rows, self.used.total, self.needed.total, reasons)


class _Recorder:
    """Is told of every operation on folded tensors (as a `Watcher`) and on ordinary ones.

    Only the calls that the model makes are operations; what their rules call in turn is what they cost.
    """

    def __init__(self, model: nn.Module, num_samples: int, sequences: Sequence[FoldedSequence]) -> None:
        self.num_samples = num_samples
        self.count = FlopCount()
        self.records: list[_Record] = []
        self.path: list[str] = []
        self.running: _Record | None = None
        self.busy = False
        self.depth = 0  # of calls that rules make
        # by id: tensors that no sample has a share in; and rows of sequences: positions held, and those of all samples
        self.weights: dict[int, Tensor] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.positions: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        for own in sequences:
            needed = int(own.index.expanded(own.length).sum())
            self.positions[id(own.rows)] = own.rows, (len(own.rows), needed)
        self.pending: dict[int, tuple[LazyProducts, _Record]] = {}

    def called(self, call: Call, answer: Callable[[], Any]) -> Any:
        if self.busy:
            self.depth += 1
            try:
                return answer()
            finally:
                self.depth -= 1
        record = _Record(self._module(), _name(call))
        self.records.append(record)
        self.running, self.busy = record, True
        owner = next((self.pending[id(given)][1] for given in call.operands() if id(given) in self.pending), None)
        try:
            record.needed = self._plain(call)
            before = self.count.total
            found = answer()
            record.used = self.count.total - before
        finally:
            self.running, self.busy = None, False
        if record.needed.total == 0 and record.used.total and owner is None:
            record.needed = record.used
        if owner is not None:
            self._credit(record, owner)
        if isinstance(found, LazyProducts):
            self.pending[id(found)] = found, owner or record
        record.rows = self._rows(call, found)
        if isinstance(found, Tensor) and not record.reasons and record.used.total and _parts(call):
            record.reasons.append("what came of its parts meets on samples")
        return found

    def unfolded(self, reason: str) -> None:
        if self.running is not None and self.depth == 0:
            self.running.reasons.append(reason)

    def ordinary(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A call on ordinary tensors only."""
        before = self.count.total
        self.busy = True
        try:
            found = func(*args, **kwargs)
        finally:
            self.busy = False
        call = Call(NAMES.get(func), func, tuple(args), kwargs)
        outs, operands = _floats(found), call.operands()
        if not outs:
            return found
        if all(id(operand) in self.weights for operand in operands):
            self.weights |= {id(out): out for out in outs}
            return found
        used = self.count.total - before
        name = _name(call)
        held = next((self.positions[id(operand)][1] for operand in operands if id(operand) in self.positions), None)
        if held is not None and all(held[0] in out.shape for out in outs):
            for out in outs:
                self.positions[id(out)] = out, held
            share = held[1] / held[0] if held[0] else 1.0
            needed = Flops(round(used.products * share), round(used.entries * share))
            self.records.append(_Record(self._module(), name, used, needed, held))
        elif any(self.num_samples in tensor.shape for tensor in (*outs, *operands)):
            self.records.append(_Record(self._module(), name, used, used, (self.num_samples, self.num_samples)))
        return found

    def _plain(self, call: Call) -> Flops:
        """What the call costs on ordinary tensors: tried on tensors without contents."""
        before = self.count.total
        try:
            with torch.no_grad():
                call.mapped(_without_contents).run()
            return self.count.total - before
        except Exception:  # contents decide its result, or it has no form without: nothing is saved that is known
            return Flops()
        finally:
            self.count.total = before

    def _rows(self, call: Call, found: Any) -> tuple[int, int] | None:
        first = next(iter(tensor_likes(found)), None)
        if isinstance(first, Folded):
            return first.num_distinct, self.num_samples
        if first is not None or _parts(call):
            return None
        return self.num_samples, self.num_samples

    def _credit(self, record: _Record, owner: _Record) -> None:
        """Products that were put off are those of the call that asked for them."""
        products = min(record.used.products, owner.needed.products)
        owner.used += Flops(products=products)
        record.used -= Flops(products=products)

    def _module(self) -> str:
        return self.path[-1] if self.path else ""


class _OrdinaryCalls(TorchFunctionMode):
    """Hands calls on ordinary tensors to a recorder; those on folded ones tell it themselves."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        getter = getattr(func, "__name__", "") == "__get__"
        if self.recorder.busy or getter or tensor_likes((args, kwargs)):
            return func(*args, **kwargs)
        return self.recorder.ordinary(func, args, kwargs)


def _parts(call: Call) -> bool:
    return any(isinstance(given, Lazy) for given in call.operands())


def _name(call: Call) -> str:
    return call.name or str(getattr(call.func, "__name__", call.func))


def _without_contents(given: Any) -> Tensor:
    return torch.empty(given.shape, dtype=given.dtype, device="meta")


def _floats(given: Any) -> list[Tensor]:
    parts = given if isinstance(given, (list, tuple)) else (given,)
    return [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]


@contextmanager
def _named(model: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep the paths of the modules that are running, the innermost last."""

    def enter(name: str) -> Callable[..., None]:
        return lambda module, args: path.append(name)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        path.pop()

    handles: list[Any] = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put the model's buffers back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in before:
                buffer.copy_(kept)


def _num_samples(inputs: Sequence[Any]) -> int:
    for given in inputs:
        if isinstance(given, (ModelInputs, FoldedSequence)):
            return given.num_samples
    for found in tensor_likes(inputs):
        if isinstance(found, (Folded, LazyConcat)):
            return found.num_samples
    for given in inputs:
        if isinstance(given, Tensor) and given.dim():
            return given.shape[0]
    raise InputError("no samples can be counted among the model's inputs", todo="give it ModelInputs or Folded tensors")


def _sequences(inputs: Sequence[Any]) -> list[FoldedSequence]:
    found = [given for given in inputs if isinstance(given, FoldedSequence)]
    for given in inputs:
        if isinstance(given, ModelInputs):
            for group in (*given.sequences.values(), *given.dense_sequences.values()):
                found += group.values()
    return found


def _lookups(inputs: Sequence[Any]) -> Iterator[Lookup]:
    for given in inputs:
        if not isinstance(given, ModelInputs):
            continue
        for name, part in given.pooled.items():
            yield Lookup(name, _distinct(part), given.num_samples)
        for group in given.sequences.values():
            for name, own in group.items():
                ids = int(own.index.expanded(own.length).sum())
                yield Lookup(name, own.num_distinct, given.num_samples, len(own.rows), ids)
        for name, part in given.weights.items():
            yield Lookup(f"{name}:weights", _distinct(part), given.num_samples)


def _distinct(part: Tensor | TensorLike) -> int:
    return part.num_distinct if isinstance(part, Folded) else part.shape[0]
