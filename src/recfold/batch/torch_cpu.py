"""The library that torch's CPU operations are in, for calls of it that have no name in Python."""

import ctypes
import functools
import os
import sys
from pathlib import Path

import torch


@functools.cache
def torch_cpu() -> ctypes.CDLL | None:
    """The library as this process has loaded it, or None where it cannot be reached so (elsewhere than on Linux).

    A name that it does not have is looked for in what it is linked with, such as its OpenMP, and in no other copy.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"), mode=os.RTLD_NOLOAD)
    except OSError:
        return None
