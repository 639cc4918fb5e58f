"""Kernels of one step at the same time: FBGEMM's CPU op runs on one thread, so that several ops keep several busy.

Every op works on tables of its own, so that results do not depend on the number of threads.
"""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from recfold.embed.fbgemm_kernel import FbgemmKernel, batched
from recfold.embed.ops import Kernel
from recfold.embed.thread_team import on_every_thread
from recfold.optim import Joined
from recfold.spec import InputError


class SideBySide:
    """Kernels as one call.

    Args:
        kernels: of different tables.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = tuple(kernels)
        self._ops = {number: kernel for number, kernel in enumerate(kernels) if isinstance(kernel, FbgemmKernel)}
        # autograd runs a backward only for something that requires a gradient
        self._anchor = torch.zeros((), requires_grad=True)

    def __call__(self, joined: Sequence[Sequence[Joined]]) -> list[list[Tensor]]:
        """What each kernel gives for its own tables' bags; their backward updates the tables."""
        if torch.get_num_threads() == 1 or len(self._ops) < 2:
            return [kernel(own) for kernel, own in zip(self.kernels, joined, strict=True)]
        found: dict[int, list[Tensor]] = {}
        ops, bags = list(self._ops.values()), [joined[number] for number in self._ops]
        if torch.is_grad_enabled():
            flat = iter(_AtOnce.apply(self._anchor, ops, bags))
            found |= {number: [next(flat) for _ in kernel.tables] for number, kernel in self._ops.items()}
        else:
            for number, sums_ND, own in zip(self._ops, _look_up(ops, bags, trains=False), bags, strict=True):
                found[number] = self._ops[number].parts(sums_ND, own)
        for number, (kernel, own) in enumerate(zip(self.kernels, joined, strict=True)):
            if number not in found:
                found[number] = kernel(own)
        return [found[number] for number in range(len(self.kernels))]


class _AtOnce(torch.autograd.Function):
    """Ops as one node of the graph: its backward has all gradients, and runs the ops' own at once."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, ops: Sequence[FbgemmKernel], joined: Sequence[Sequence[Joined]]) -> Any:
        ctx.sizes = [_size(own) for own in joined]
        ctx.sums = _look_up(ops, joined, trains=True)
        ctx.set_materialize_grads(False)
        parts = [
            part
            for kernel, sums_ND, own in zip(ops, ctx.sums, joined, strict=True)
            for part in kernel.parts(sums_ND.detach(), own)
        ]
        ctx.dims = [kernel.dims for kernel in ops]
        return tuple(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None]:
        if ctx.sums is None:
            raise InputError("embedding tables got a second backward", expected="one a forward: it updates them")
        jobs, rest = [], list(grads)
        for sums_ND, dims, size in zip(ctx.sums, ctx.dims, ctx.sizes, strict=True):
            own, rest = rest[: len(dims)], rest[len(dims) :]
            if any(grad is not None for grad in own):
                jobs.append((size, functools.partial(_update, sums_ND, own, dims)))
        _at_once(jobs)
        ctx.sums = None
        return None, None, None


def _look_up(ops: Sequence[FbgemmKernel], joined: Sequence[Sequence[Joined]], *, trains: bool) -> list[Tensor]:
    """The sums of each op's tables, side by side."""
    found: dict[int, Tensor] = {}
    asked = [batched(own) for own in joined]  # here: threads wait for each other in Python

    def look_up(number: int) -> None:
        with torch.set_grad_enabled(trains):  # each thread has a grad mode of its own
            found[number] = ops[number].look_up(*asked[number])

    _at_once([(_size(own), functools.partial(look_up, number)) for number, own in enumerate(joined)])
    return [found[number] for number in range(len(ops))]


def _update(sums_ND: Tensor, grads: Sequence[Tensor | None], dims: Sequence[int]) -> None:
    """The backward of one op."""
    torch.autograd.backward([sums_ND], [_side_by_side(grads, sums_ND, dims)])


def _side_by_side(grads: Sequence[Tensor | None], like_ND: Tensor, dims: Sequence[int]) -> Tensor:
    """The gradient [N, all D] of all sums from those of tables, each [N or fewer, D].

    No copy where they lie next to each other already.
    """
    first = grads[0]
    if first is not None and _are_next_to_each_other(grads, len(like_ND)):
        return first.as_strided(like_ND.shape, (first.stride(0), 1))
    return torch.cat([_of_all_bags(g, part) for g, part in zip(grads, like_ND.split(list(dims), 1), strict=True)], 1)


def _of_all_bags(grad: Tensor | None, like_ND: Tensor) -> Tensor:
    """A table's gradient with zeros for the bags that it does not have; all zeros where there is none."""
    if grad is None:
        return torch.zeros_like(like_ND)
    missing = len(like_ND) - len(grad)
    return pad(grad, (0, 0, 0, missing)) if missing else grad


def _are_next_to_each_other(grads: Sequence[Tensor | None], rows: int) -> bool:
    """Whether tensors are adjacent columns of one."""
    expected: tuple[Any, ...] = ()
    for number, grad in enumerate(grads):
        if grad is None or len(grad) != rows or grad.stride(1) != 1:
            return False
        place, line, memory = grad.storage_offset(), grad.stride(0), grad.untyped_storage().data_ptr()
        if number and (place, line, memory) != expected:
            return False
        expected = (place + grad.shape[1], line, memory)
    return True


def _size(joined: Sequence[Joined]) -> int:
    """Of an op's work: rows read, and rows written."""
    return sum(len(own.values) + own.num_bags for own in joined)


def _at_once(jobs: Sequence[tuple[int, Callable[[], object]]]) -> None:
    """Do all jobs, the largest first, on as many threads as torch may use."""
    if len(jobs) < 2:
        for _, job in jobs:
            job()
        return
    waiting = deque(job for _, job in sorted(jobs, key=lambda job: -job[0]))

    def work() -> None:
        while waiting:
            try:
                job = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            job()

    on_every_thread(work)
