"""Memory that processes share and that has no name, so that nothing can be left behind.

A block is an open file descriptor. It is handed over through a socket (SCM_RIGHTS) or inherited, mapped, and closed;
the kernel frees the memory when the last process that maps it lets go, however that process ends. Names in /dev/shm
(`multiprocessing.shared_memory`) would outlive a process that is killed before it removes them, and a pool of blocks
that are used again would have to be told when the last tensor over a block is gone.
"""

import ctypes
import mmap
import os
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

Entries = list[tuple[str, str, list[int], int]]
"""Arrays of a block: name, dtype, shape, place in bytes."""

_ALIGNMENT = 64
_MAX_PIECES = 512


def nameless_file() -> int:
    """A new file descriptor to memory; to an unlinked temporary file where the system has no such memory.

    A memfd does not count against the size of /dev/shm, which containers keep small.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("recfold-reader", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:  # unlinked before it has a byte
        return os.dup(file.fileno())


def write_arrays(fd: int, arrays: Mapping[str, np.ndarray]) -> Entries:
    """Write arrays to a new block, aligned.

    Returns:
        where they are; `map_arrays` takes this.
    """
    entries: Entries = []
    pieces: list[Any] = []
    size = 0
    for name, array in arrays.items():
        gap = -size % _ALIGNMENT
        if gap:
            pieces.append(bytes(gap))
        entries.append((name, array.dtype.str, list(array.shape), size + gap))
        if array.nbytes:
            pieces.append(np.ascontiguousarray(array).data.cast("B"))
        size += gap + array.nbytes
    for first in range(0, len(pieces), _MAX_PIECES):
        _write_all(fd, pieces[first : first + _MAX_PIECES])
    return entries


def map_arrays(fd: int, entries: Entries, *, writable: bool) -> dict[str, np.ndarray]:
    """Views of a block, which stays mapped as long as one of them lives; the descriptor may be closed.

    Args:
        writable: whether writing to an array is allowed (others that map the block would see it).
    """
    body = _mapped(fd, os.fstat(fd).st_size, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    arrays = {}
    for name, dtype, shape, place in entries:
        kind = np.dtype(dtype)
        count = int(np.prod(shape))
        arrays[name] = body[place : place + count * kind.itemsize].view(kind).reshape(shape)
    return arrays


def _mapped(fd: int, size: int, access: int) -> np.ndarray:
    """A mapped file as bytes, unmapped when the last array over it is gone.

    Python's own mmap keeps a descriptor open for each mapping, of which a process may have few: whoever collects
    batches in a list would run out of them.
    """
    if not size:  # cannot be mapped
        return np.empty(0, dtype=np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, count = ctypes.c_void_p, ctypes.c_size_t
    libc.mmap.argtypes = [pointer, count, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    libc.mmap.restype = pointer
    libc.munmap.argtypes = [pointer, count]
    address = libc.mmap(None, size, access, mmap.MAP_SHARED, fd, 0)
    if address in (None, pointer(-1).value):
        raise OSError(ctypes.get_errno(), "shared memory cannot be mapped")
    memory = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(memory, libc.munmap, address, size).atexit = False
    body: np.ndarray = np.frombuffer(memoryview(memory), dtype=np.uint8)
    body.flags.writeable = bool(access & mmap.PROT_WRITE)
    return body


def _write_all(fd: int, pieces: list[Any]) -> None:
    rest = [memoryview(piece) for piece in pieces]
    while rest:
        done = os.writev(fd, rest)
        while rest and done >= len(rest[0]):
            done -= len(rest.pop(0))
        if done:
            rest[0] = rest[0][done:]
