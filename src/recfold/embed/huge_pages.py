"""Large pages for tables: rows are read at random, and a row in a small page costs a walk of the page table."""

import ctypes
import mmap
import sys

from torch import Tensor

MADV_HUGEPAGE = 14
AT_LEAST_BYTES = 4 << 20  # two of the usual large pages


def use_huge_pages_(tensor: Tensor) -> bool:
    """Ask Linux to hold a CPU tensor in large pages (2 MiB on x86), at best before anything is written to it.

    Contents and address stay; where the system has no such pages, or does not give them, nothing happens.

    Returns:
        Whether the system took the request.

    Source: madvise(2), MADV_HUGEPAGE; the number is that of asm-generic/mman-common.h.
    """
    num_bytes = tensor.numel() * tensor.element_size()
    if not sys.platform.startswith("linux") or tensor.device.type != "cpu" or num_bytes < AT_LEAST_BYTES:
        return False
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (tensor.data_ptr() + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    try:
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return False
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return bool(madvise(first, last - first, MADV_HUGEPAGE) == 0)
