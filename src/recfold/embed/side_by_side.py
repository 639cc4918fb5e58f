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

from recfold.embed.fbgemm_kernel import FbgemmKernel
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
        self._ops = [number for number, kernel in enumerate(kernels) if isinstance(kernel, FbgemmKernel)]
        # autograd runs a backward only for something that requires a gradient
        self._anchor = torch.zeros((), requires_grad=True)

    def __call__(self, joined: Sequence[Sequence[Joined]]) -> list[list[Tensor]]:
        """What each kernel gives for its own tables' bags; their backward updates the tables."""
        if torch.get_num_threads() == 1 or len(self._ops) < 2:
            return [kernel(own) for kernel, own in zip(self.kernels, joined, strict=True)]
        found: dict[int, list[Tensor]] = {}
        ops, bags = [self.kernels[number] for number in self._ops], [joined[number] for number in self._ops]
        if torch.is_grad_enabled():
            flat = iter(_AtOnce.apply(self._anchor, ops, bags))
            found |= {n: [next(flat) for _ in kernel.tables] for n, kernel in zip(self._ops, ops, strict=True)}
        else:
            found |= zip(self._ops, _look_up(ops, bags, trains=False), strict=True)
        for number, (kernel, own) in enumerate(zip(self.kernels, joined, strict=True)):
            if number not in found:
                found[number] = kernel(own)
        return [found[number] for number in range(len(self.kernels))]


class _AtOnce(torch.autograd.Function):
    """Ops as one node of the graph: its backward has all gradients, and runs the ops' own at once."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, ops: Sequence[Kernel], joined: Sequence[Sequence[Joined]]) -> Any:
        ctx.sizes = [_size(own) for own in joined]
        ctx.rows = _look_up(ops, joined, trains=True)
        ctx.set_materialize_grads(False)
        return tuple(part.detach() for rows in ctx.rows for part in rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None]:
        if ctx.rows is None:
            raise InputError("embedding tables got a second backward", expected="one a forward: it updates them")
        jobs, rest = [], list(grads)
        for rows, size in zip(ctx.rows, ctx.sizes, strict=True):
            own, rest = rest[: len(rows)], rest[len(rows) :]
            if any(grad is not None for grad in own):
                filled = [torch.zeros_like(part) if g is None else g for part, g in zip(rows, own, strict=True)]
                jobs.append((size, functools.partial(torch.autograd.backward, rows, filled)))
        _at_once(jobs)
        ctx.rows = None
        return None, None, None


def _look_up(ops: Sequence[Kernel], joined: Sequence[Sequence[Joined]], *, trains: bool) -> list[list[Tensor]]:
    found: dict[int, list[Tensor]] = {}

    def look_up(number: int) -> None:
        with torch.set_grad_enabled(trains):  # each thread has a grad mode of its own
            found[number] = ops[number](joined[number])

    _at_once([(_size(own), functools.partial(look_up, number)) for number, own in enumerate(joined)])
    return [found[number] for number in range(len(ops))]


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
