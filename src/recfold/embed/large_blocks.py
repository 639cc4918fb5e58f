"""Large blocks of memory that a process gives back and asks for again in every step."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGEST_INT = 1 << 30, (1 << 31) - 1


def keep_large_blocks() -> bool:
    """Let this process keep blocks up to 1 GiB for its next step, instead of giving them back to the system.

    glibc maps every block above 32 MiB anew, and each of its pages costs a fault: half a nanosecond a byte, as much as
    the lookup that fills it. Holds until the process ends.

    Returns:
        Whether the allocator took the request; False where it is not glibc's.

    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    taken = mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) == 1
    return bool(mallopt(M_TRIM_THRESHOLD, LARGEST_INT) == 1 and taken)
