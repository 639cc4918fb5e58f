"""Worker processes for the parts of a fold that do not touch each other: tasks in, results out, in the order given.

A worker is a new Python process (nothing is inherited and the calling script is not run again) that reads pickled tasks
from its standard input and answers on its standard output.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from recfold.spec import InputError

_COMMAND = "from recfold.fold.workers import serve; serve()"
_LOOK_S = 0.05
Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers:
    """Runs tasks in this process, or in as many others as said. Use as a context manager: leaving it ends them.

    Args:
        count: processes; 1 for none besides this one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._started: list[_Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        for worker in self._started:
            worker.close()
        self._started.clear()

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """`work(task)` for each task, in their order, several at a time.

        Args:
            work: a function of a module (it is sent by name); pure but for the files that a task names.
        Raises:
            InputError, OSError: what a task raised; or a process died.
            RuntimeError: any other failure of a task.
        """
        if self.count == 1 or len(tasks) <= 1:
            yield from map(work, tasks)
            return
        while len(self._started) < min(self.count, len(tasks)):
            self._started.append(_Worker())
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._started:
            idle.put(worker)

        def run(task: Task) -> Result:
            worker = idle.get()
            try:
                result: Result = worker.run(work, task)
            finally:
                idle.put(worker)
            return result

        with ThreadPoolExecutor(len(self._started)) as threads:
            running = deque(threads.submit(run, task) for task in tasks)
            try:
                while running:
                    yield running.popleft().result()
            finally:  # after a failure or Ctrl-C nobody waits for the rest
                threads.shutdown(wait=False, cancel_futures=True)
                if any(not future.done() for future in running):
                    self.end()

    def end(self) -> None:
        """End the processes, whatever they are doing."""
        for worker in self._started:
            worker.end()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
            environment[name] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to the parent alone, which ends its workers
        )

    def run(self, work: Callable[[Any], Any], task: Any) -> Any:
        """The result of one task.

        Raises:
            whatever the task raised; InputError where the process died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((work, task), self._process.stdin)
            self._process.stdin.flush()
            failed, answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise self._death() from None
        if failed:
            raise answer
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """After `end`, once nobody reads from it."""
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _death(self) -> InputError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return InputError(
            "a fold worker died",
            got=how + (f", saying {lines[-1]!r}" if lines else ""),
            todo="if memory ran out, use fewer workers or more partitions; workers=1 folds in this process",
        )


def serve() -> None:
    """What a worker process does, until its standard input ends."""
    import pyarrow as pa

    Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    pa.set_cpu_count(1)
    tasks = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    while True:
        try:
            work, task = pickle.load(tasks)
        except EOFError:
            return
        pickle.dump(_attempt(work, task), answers)
        answers.flush()


def _end_with_parent(parent: int) -> None:
    """Nobody waits for the result of a task whose parent was killed; somebody may be folding into the same place."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _attempt(work: Callable[[Any], Any], task: Any) -> tuple[bool, Any]:
    try:
        return False, work(task)
    except (InputError, OSError) as error:
        return True, error
    except Exception as error:
        return True, RuntimeError(f"folding failed in a worker process: {type(error).__name__}: {error}")
