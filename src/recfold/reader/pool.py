"""Worker processes and what they have made so far: started, read from and ended by the reader's own process."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from recfold.reader.cut import Arrays
from recfold.reader.wire import receive_frame
from recfold.reader.worker import TAKEN
from recfold.spec import InputError

COMMAND = "from recfold.reader.worker import main; main({fd})"


class Pool:
    """Worker processes that make every so many-th batch each.

    Args:
        start: see `worker.start_line`.
        num_workers: processes.
        inherited: descriptors of memory that the workers are told of in `start`.
    """

    def __init__(self, start: dict[str, Any], num_workers: int, inherited: Sequence[int] = ()) -> None:
        self._workers: list[_Worker] = []
        # also where the pool is forgotten, and before the interpreter ends
        self._end = weakref.finalize(self, _close_all, self._workers)
        try:
            for _ in range(num_workers):
                self._workers.append(_Worker(start, inherited))
        except BaseException:
            self.close()
            raise

    def batches(self, jobs: list[dict[str, Any]]) -> Iterator[Arrays]:
        """Give every worker a job and take their batches in turn, until the first has no more.

        Raises:
            InputError: a worker found something wrong with the table, or died.
            RuntimeError: a worker failed.
        """
        for worker, job in zip(self._workers, jobs, strict=True):
            worker.send(job)
        running = list(self._workers)
        turn = 0
        while running:
            arrays = running[turn].take()
            if arrays is None:
                # batches are dealt in turn: once one worker has no more, the others have only their end left to say
                for other in running[turn + 1 :] + running[:turn]:
                    other.take()
                return
            yield arrays
            turn = (turn + 1) % len(running)

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._end()


class _Worker:
    """One process, and the socket on which it gets jobs and answers with batches."""

    def __init__(self, start: dict[str, Any], inherited: Sequence[int]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = "1"
        self._socket, other_end = socket.socketpair()
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND.format(fd=other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=(other_end.fileno(), *inherited),
                env=environment,
                # Ctrl-C goes to the parent alone; it closes the socket, and that ends the worker
                start_new_session=True,
            )
        self.send(start)

    def send(self, line: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(line).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def take(self) -> Arrays | None:
        """The next batch of the job; None at its end.

        Raises:
            InputError: the worker found something wrong with the table, or died.
            RuntimeError: the worker failed.
        """
        try:
            frame = receive_frame(self._socket)
        except (EOFError, ConnectionResetError):
            frame = None
        if frame is None:
            raise self._death()
        header, arrays = frame
        if "error" in header:
            raise (
                InputError(header["error"])
                if header["input"]
                else RuntimeError(f"a reader worker failed: {header['error']}")
            )
        if header.get("end"):
            return None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # if it died, its next batch is missing
            self._socket.sendall(TAKEN)
        return arrays

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._errors.close()

    def _death(self) -> InputError:
        """The error for a worker that ended without saying why."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return InputError(
            "a reader worker died",
            got=how + (f", saying {lines[-1]!r}" if lines else ""),
            todo="if memory ran out, use fewer workers or a smaller shuffle window; workers=0 reads in this process",
        )


def _close_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.close()
    workers.clear()
