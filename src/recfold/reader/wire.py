"""Batches through a pipe: a JSON header and raw numpy buffers, nothing pickled.

A frame is two little-endian uint64 (bytes of the header, bytes of the body), the header, and the body. The header of a
batch names its arrays with dtype, shape and place in the body; that of an error has its text.
"""

import json
import struct
from typing import IO, Any

import numpy as np

_SIZES = struct.Struct("<QQ")
_ALIGNMENT = 64


def write_frame(file: IO[bytes], header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Write one frame to an unbuffered file."""
    entries: list[tuple[str, str, list[int], int]] = []
    body = 0
    for name, array in (arrays or {}).items():
        body += -body % _ALIGNMENT
        entries.append((name, array.dtype.str, list(array.shape), body))
        body += array.nbytes
    text = json.dumps({**header, "arrays": entries}).encode()
    write_all(file, _SIZES.pack(len(text), body) + text)
    written = 0
    for (_, _, _, place), array in zip(entries, (arrays or {}).values(), strict=True):
        write_all(file, bytes(place - written))
        if array.nbytes:
            write_all(file, np.ascontiguousarray(array).data.cast("B"))
        written = place + array.nbytes


def read_frame(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Read one frame: its header and its arrays, writable views of one buffer. None where the file ends.

    Raises:
        EOFError: the file ends inside a frame.
    """
    sizes = np.empty(_SIZES.size, dtype=np.uint8)
    if not _read(file, sizes, may_end=True):
        return None
    header_size, body_size = _SIZES.unpack(sizes.tobytes())
    text = np.empty(header_size, dtype=np.uint8)
    _read(file, text)
    body = np.empty(body_size, dtype=np.uint8)
    _read(file, body)
    header = json.loads(text.tobytes())
    arrays = {}
    for name, dtype, shape, place in header.pop("arrays"):
        kind = np.dtype(dtype)
        count = int(np.prod(shape))
        arrays[name] = body[place : place + count * kind.itemsize].view(kind).reshape(shape)
    return header, arrays


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Write to an unbuffered file, which may take a piece at a time."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[file.write(rest) :]


def _read(file: IO[bytes], into: np.ndarray, may_end: bool = False) -> bool:
    view, done = into.data, 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            if may_end and done == 0:
                return False
            raise EOFError("the pipe closed inside a frame")
        done += count
    return True
