"""Kernels of one step at the same time: FBGEMM's CPU op runs on one thread, so that several ops keep several busy.

Every op works on tables of its own, so that results do not depend on the number of threads.
"""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recfold.embed.fbgemm_kernel import FbgemmKernel
from recfold.embed.ops import Kernel
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
        ctx.num_ids = [_num_ids(own) for own in joined]
        ctx.rows = _look_up(ops, joined, trains=True)
        ctx.set_materialize_grads(False)
        return tuple(part.detach() for rows in ctx.rows for part in rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None]:
        if ctx.rows is None:
            raise InputError("embedding tables got a second backward", expected="one a forward: it updates them")
        jobs, rest = [], list(grads)
        for rows, num_ids in zip(ctx.rows, ctx.num_ids, strict=True):
            own, rest = rest[: len(rows)], rest[len(rows) :]
            if any(grad is not None for grad in own):
                filled = [torch.zeros_like(part) if g is None else g for part, g in zip(rows, own, strict=True)]
                jobs.append((num_ids, functools.partial(torch.autograd.backward, rows, filled)))
        _at_once(jobs)
        ctx.rows = None
        return None, None, None


def _look_up(ops: Sequence[Kernel], joined: Sequence[Sequence[Joined]], *, trains: bool) -> list[list[Tensor]]:
    found: dict[int, list[Tensor]] = {}

    def look_up(number: int) -> None:
        with torch.set_grad_enabled(trains):  # each thread has a grad mode of its own
            found[number] = ops[number](joined[number])

    _at_once([(_num_ids(own), functools.partial(look_up, number)) for number, own in enumerate(joined)])
    return [found[number] for number in range(len(ops))]


def _num_ids(joined: Sequence[Joined]) -> int:
    return sum(len(own.values) for own in joined)


def _at_once(jobs: Sequence[tuple[int, Callable[[], object]]]) -> None:
    """Do all jobs, the largest first, on as many threads as torch may use; this one is one of them."""
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

    threads = min(torch.get_num_threads(), len(jobs))
    pool = _pool(os.getpid(), threads - 1)
    with _idle_workers():
        helpers = [pool.submit(work) for _ in range(threads - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()


@contextmanager
def _idle_workers() -> Iterator[None]:
    """One thread of OpenMP for this one; its workers leave their cores to others.

    After a parallel operation GNU OpenMP's workers spin for milliseconds, unless there are more of them than cores:
    so one operation is given one thread more.
    """
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        _numbers().sum()
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _numbers() -> Tensor:
    """As many as several threads add up, if there are."""
    return torch.zeros(1 << 17)


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of a process; one that is forked off has none of them.

    Each has one OpenMP thread. With more, there would be more of them than cores, and GNU OpenMP would then put all of
    them to sleep between any two operations of a step.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # what a new thread takes over at its first parallel operation
    try:
        started = threading.Barrier(threads + 1)

        def start() -> None:
            try:
                _numbers().sum()
            except BaseException:
                started.abort()
                raise
            started.wait()

        pool = ThreadPoolExecutor(threads, thread_name_prefix="recfold-embed", initializer=start)
        for _ in range(threads):
            pool.submit(int)
        started.wait()
    finally:
        torch.set_num_threads(before)
    return pool
