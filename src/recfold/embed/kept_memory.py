"""Memory that a step frees stays with the process: the next step would have to fault the same pages in again."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep up to 1 GiB of freed memory, large blocks too, instead of giving it back.

    A training step allocates and frees the same tens of megabytes each time; their pages, given back and faulted in
    again, took 8 of 84 ms of a step of the workload `one-group`. It holds for the whole process from then on.

    Returns:
        Whether the allocator took it; other systems have other allocators, of which nothing is asked.

    Source: mallopt(3); the numbers are those of malloc.h.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(option, KEPT_BYTES) == 1 for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
