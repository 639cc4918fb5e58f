"""Batches from a worker to the reader: a JSON header through a socket, arrays in nameless memory, nothing pickled.

A frame is a little-endian uint64 (bytes of the header) and the header. The header of a batch names its arrays with
dtype, shape and place; their memory comes along as a file descriptor. That of an error has its text.
"""

import array
import json
import os
import socket
import struct
from typing import Any

import numpy as np

from recfold.reader.memory import map_arrays, nameless_file, write_arrays

_SIZE = struct.Struct("<Q")


def send_frame(to: socket.socket, header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Send one frame; arrays of a batch are copied once, into memory of their own.

    Raises:
        BrokenPipeError: nobody is left to receive it.
    """
    if arrays is None:
        text = json.dumps(header).encode()
        to.sendall(_SIZE.pack(len(text)) + text)
        return
    fd = nameless_file()
    try:
        text = json.dumps({**header, "arrays": write_arrays(fd, arrays)}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        # the descriptor travels with the first byte; the rest may have to wait for room
        sent = to.sendmsg([_SIZE.pack(len(text))], rights)
    finally:
        os.close(fd)
    to.sendall((_SIZE.pack(len(text)) + text)[sent:])


def receive_frame(source: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Receive one frame: its header and its arrays, writable views of shared memory. None where the other end closed.

    Raises:
        EOFError: it closed inside a frame.
    """
    start, fds, _, _ = socket.recv_fds(source, _SIZE.size, 1)
    try:
        if not start:
            return None
        (size,) = _SIZE.unpack(start + _receive(source, _SIZE.size - len(start)))
        header = json.loads(_receive(source, size))
        entries = header.pop("arrays", [])
        return header, map_arrays(fds[0], entries, writable=True) if fds else {}
    finally:
        for fd in fds:
            os.close(fd)


def _receive(source: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while len(view):
        count = source.recv_into(view)
        if not count:
            raise EOFError("the socket closed inside a frame")
        view = view[count:]
    return bytes(data)
