"""Worker processes and what they have made so far: started, read from and ended by the reader's own process."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from typing import IO, Any

from recfold.reader.cut import Arrays
from recfold.reader.wire import read_frame, write_all
from recfold.spec import InputError

_COMMAND = "from recfold.reader.worker import main; main()"
_PIPE_BYTES = 1 << 20


class Pool:
    """Worker processes that make every so many-th batch each.

    Args:
        start: see `worker.start_line`.
        num_workers: processes.
        prefetch: finished batches held for each.
    """

    def __init__(self, start: dict[str, Any], num_workers: int, prefetch: int) -> None:
        self._workers: list[_Worker] = []
        # also where the pool is forgotten, and before the interpreter ends: threads can still be joined then
        self._end = weakref.finalize(self, _close_all, self._workers)
        try:
            for _ in range(num_workers):
                self._workers.append(_Worker(start, prefetch))
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
    """One process, and a thread that reads what it makes into a bounded queue."""

    def __init__(self, start: dict[str, Any], prefetch: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=environment,
            # Ctrl-C goes to the parent alone; it closes the pipes, and that ends the worker
            start_new_session=True,
        )
        assert self._process.stdout is not None
        _widen(self._process.stdout)
        self._frames: queue.Queue[tuple[dict[str, Any], Arrays] | None] = queue.Queue(prefetch)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read_frames, args=(self._process.stdout,), daemon=True)
        self._thread.start()
        self.send(start)

    def send(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            write_all(self._process.stdin, json.dumps(line).encode() + b"\n")
        except BrokenPipeError:
            raise self._death() from None

    def take(self) -> Arrays | None:
        """The next batch of the job; None at its end.

        Raises:
            InputError: the worker found something wrong with the table, or died.
            RuntimeError: the worker failed.
        """
        frame = self._frames.get()
        if frame is None:
            raise self._death()
        header, arrays = frame
        if "error" in header:
            raise (
                InputError(header["error"])
                if header["input"]
                else RuntimeError(f"a reader worker failed: {header['error']}")
            )
        return None if header.get("end") else arrays

    def close(self) -> None:
        self._closing.set()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._errors.close()

    def _read_frames(self, pipe: IO[bytes]) -> None:
        while True:
            try:
                frame = read_frame(pipe)
            except (EOFError, OSError, ValueError):
                frame = None
            while not self._closing.is_set():
                try:
                    self._frames.put(frame, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if frame is None or self._closing.is_set():
                return

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


def _widen(pipe: IO[bytes]) -> None:
    """Let the pipe hold more, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return
