"""Products of matrices: row by row where the batch is among their rows, their columns, or their own batch axes."""

from typing import Any

import torch
from torch import Tensor

from recfold.batch.folded.align import common_index, per_sample, row_wise, under, wrapped
from recfold.batch.folded.dispatch import Call, Why, rule, sequence_of
from recfold.batch.folded.folded import Folded

SUMMED = Why("it sums over the batch axis")


@rule("linear", "bilinear")
def linear(call: Call) -> Any:
    inputs = 1 if call.name == "linear" else 2
    if any(isinstance(operand, Folded) for operand in call.operands()[inputs:]):
        return Why("its weights are folded")
    given = call.operands()[:inputs]
    own = [operand for operand in given if isinstance(operand, Folded)]
    if len(own) < len(given):
        return Why("an operand is per sample")
    if any(folded.batch_axis != own[0].batch_axis for folded in own):
        return Why("operands have the batch on different axes")
    if own[0].batch_axis == own[0].ndim - 1:
        return SUMMED
    index = common_index([folded.index for folded in own])
    if isinstance(index, Why):
        return index
    result = call.mapped(lambda operand: under(operand, index) if isinstance(operand, Folded) else operand).run()
    return wrapped(result, index, lambda out: own[0].batch_axis)


@rule("matmul", "mm", "bmm", "mv")
def matmul(call: Call) -> Any:
    return _product(call, call.args[0] if call.args else call.kwargs["input"], call.operands()[1])


@rule("rmatmul")
def rmatmul(call: Call) -> Any:
    return _product(call, call.args[1], call.args[0])


def _product(call: Call, left: Any, right: Any) -> Any:
    if left.ndim == 0 or right.ndim == 0:
        return Why("an operand is a number")
    if not isinstance(right, Folded):
        if left.batch_axis == left.ndim - 1:
            return SUMMED
        if left.batch_axis == left.ndim - 2:  # rows
            if right.ndim > 2:
                return _kept(call, left, lambda out: out.dim() - 2)
            return _kept(call, left, lambda out: out.dim() - (1 if right.ndim == 1 else 2))
    elif not isinstance(left, Folded):
        if right.batch_axis == right.ndim - (1 if right.ndim == 1 else 2):
            return SUMMED
        if right.batch_axis == right.ndim - 1:  # columns
            return _kept(call, right, lambda out: out.dim() - 1)
    if left.ndim < 2 or right.ndim < 2:
        vector, other = (left, right) if left.ndim < 2 else (right, left)
        if isinstance(vector, Folded) or not isinstance(other, Folded):
            return SUMMED
        return _kept(call, other, lambda out: other.batch_axis)
    if call.name == "bmm" and not (isinstance(left, Folded) and isinstance(right, Folded)):
        return Why("an operand is per sample")
    return row_wise(call, last_free=2)


def _kept(call: Call, own: Folded, axis: Any) -> Any:
    result = call.mapped(lambda given: own.values if given is own else given).run()
    return wrapped(result, own.index, axis)


@rule("baddbmm")
def baddbmm(call: Call) -> Any:
    if not all(isinstance(operand, Folded) for operand in call.operands()[1:]):
        return Why("an operand is per sample")
    return row_wise(call, last_free=2)


@rule("addmm")
def addmm(call: Call) -> Any:
    added, left, right = call.operands()[:3]
    if isinstance(added, Folded) or isinstance(right, Folded) or left.batch_axis != 0:
        return Why("another operand than the rows is folded")
    if per_sample(added, -2, left.num_samples):
        return Why("an operand is per sample")
    narrow = added.narrow(0, 0, 1) if added.dim() == 2 and added.shape[0] != 1 else added
    result = call.mapped(lambda given: left.values if given is left else narrow if given is added else given).run()
    return wrapped(result, left.index, lambda out: 0)


@rule("einsum")
def einsum(call: Call) -> Any:
    equation, operands = call.args[0], list(sequence_of(call.args[1])) if len(call.args) == 2 else list(call.args[1:])
    if not isinstance(equation, str) or "..." in equation or "->" not in equation:
        return Why("its equation does not name all axes")
    left, right = equation.replace(" ", "").split("->")
    terms = left.split(",")
    if len(terms) != len(operands) or any(len(t) != o.ndim for t, o in zip(terms, operands, strict=True)):
        return Why("its equation does not fit")
    own = [(term, operand) for term, operand in zip(terms, operands, strict=True) if isinstance(operand, Folded)]
    letters = {term[folded.batch_axis] for term, folded in own}
    if len(letters) > 1:
        return Why("operands have the batch on different axes")
    (letter,) = letters
    if letter not in right:
        return SUMMED
    for term, operand in zip(terms, operands, strict=True):
        if term.count(letter) > 1 or (isinstance(operand, Tensor) and letter in term):
            return Why("an operand is per sample")
    index = common_index([folded.index for _, folded in own])
    if isinstance(index, Why):
        return index
    found = torch.einsum(equation, *(under(o, index) if isinstance(o, Folded) else o for o in operands))
    return Folded(found, index, right.index(letter))


@rule("tensordot")
def tensordot(call: Call) -> Any:
    left, right, dims = call.arg(0, "a"), call.arg(1, "b"), call.arg(2, "dims", 2)
    if isinstance(left, Folded) and isinstance(right, Folded):
        return Why("both operands are folded")
    if isinstance(dims, int):
        summed: tuple[list[int], list[int]] = (list(range(left.ndim - dims, left.ndim)), list(range(dims)))
    elif isinstance(dims, (tuple, list)) and len(dims) == 2 and not isinstance(dims[0], int):
        summed = (list(dims[0]), list(dims[1]))
    else:
        return Why("its axes are no lists")
    own, axes = (left, summed[0]) if isinstance(left, Folded) else (right, summed[1])
    axes = [axis % own.ndim for axis in axes]
    if own.batch_axis in axes:
        return SUMMED
    before = 0 if own is left else left.ndim - len(summed[0])
    return _kept(call, own, lambda out: before + own.batch_axis - sum(axis < own.batch_axis for axis in axes))
