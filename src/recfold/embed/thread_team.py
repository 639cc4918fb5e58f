"""Torch's own OpenMP threads, for work of several operations at once.

Threads of our own would share the cores with OpenMP's workers, which spin for milliseconds after each parallel
operation. The workers themselves start at once.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch

from recfold.batch.torch_cpu import torch_cpu


def on_every_thread(work: Callable[[], object]) -> None:
    """Call `work` on this thread and on every worker that torch's operations have, and wait for all.

    Operations inside run on one thread each. Where OpenMP cannot be reached, and where it has fewer threads to give,
    `work` is called less often, but on this thread always.

    Raises:
        BaseException: what `work` raised first, on whichever thread.
    """
    parallel = _parallel()
    if parallel is None or torch.get_num_threads() == 1:
        work()
        return
    raised: list[BaseException] = []

    def guarded(_: object) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    parallel(_BODY(guarded), None, torch.get_num_threads(), 0)
    if raised:
        raise raised[0]


_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def _parallel() -> Any:
    """`GOMP_parallel` of the OpenMP that torch is linked with, or None: of GNU's, and of LLVM's and Intel's on Linux.

    Source: libgomp's ABI, "Implementing PARALLEL construct": body, its argument, number of threads, flags.
    """
    parallel = getattr(torch_cpu(), "GOMP_parallel", None)
    if parallel is None:
        return None
    parallel.restype = None
    parallel.argtypes = (_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    return parallel
