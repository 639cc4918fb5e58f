"""The library that torch's CPU operations are in, for calls of it that have no name in Python."""

import ctypes
import functools
import os
import sys
from pathlib import Path

import torch


@functools.cache
def torch_cpu() -> ctypes.CDLL | None:
    """It, as it is loaded already; also what it is linked with is found through it, and no other copy. None elsewhere
    than on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"), mode=os.RTLD_NOLOAD)
    except OSError:
        return None
