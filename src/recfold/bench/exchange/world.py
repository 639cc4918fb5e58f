"""The ranks of one world, started once, and asked to do things together."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recfold.bench.exchange.network import Place
from recfold.bench.exchange.rank import RankTask
from recfold.spec import InputError

LONGEST_S = 600.0
"""That ranks may take to answer."""


class World:
    """Ranks as processes.

    Attributes:
        about: what each rank said when it had started.
    """

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"], folder: Path) -> None:
        self._processes, self._folder = list(processes), folder
        self.about = self._answers()

    def ask(self, do: str, **given: Any) -> list[dict[str, Any]]:
        """The answer of every rank.

        Args:
            do: a method of `Rank`, with what it is given.
        Raises:
            InputError: one of them has one, ended, or does not answer.
        """
        for process in self._processes:
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps({"do": do, **given}).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it ended: reading its answer says so
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        with selectors.DefaultSelector() as waiting:
            for rank, process in enumerate(self._processes):
                assert process.stdout is not None
                waiting.register(process.stdout, selectors.EVENT_READ, rank)
            while len(found) < len(self._processes):
                ready = waiting.select(LONGEST_S)
                if not ready:
                    raise InputError(f"a rank did not answer within {LONGEST_S:g} s", todo="report this")
                for key, _ in ready:
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    found[key.data] = json.loads(line) if line else {"error": self._last_words(key.data)}
                    waiting.unregister(key.fileobj)
        # only now: what one rank has said must not be taken for its answer to the next request
        for answer in found.values():
            if "error" in answer:
                raise InputError(answer["error"])
        return [found[rank] for rank in range(len(found))]

    def _last_words(self, rank: int) -> str:
        code = self._processes[rank].wait(timeout=LONGEST_S)
        lines = (self._folder / f"{rank}.log").read_text(errors="replace").strip().splitlines()
        return f"rank {rank} ended with {code}: {lines[-1] if lines else 'it said nothing'}"


@contextmanager
def open_world(places: Sequence[Place], **task: Any) -> Iterator[World]:
    """Start a rank in each place; they end with the block.

    Args:
        task: of `RankTask`, but for what differs from rank to rank.
    Raises:
        InputError: a rank could not start.
    """
    with tempfile.TemporaryDirectory(prefix="recfold-ranks-") as name:
        folder, processes = Path(name), []
        try:
            for rank, place in enumerate(places):
                own = RankTask(rank=rank, size=len(places), meet=folder / "meet", **task)
                processes.append(_start(place, own, folder / f"{rank}.log"))
            yield World(processes, folder)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.communicate()


def _start(place: Place, task: RankTask, log: Path) -> "subprocess.Popen[bytes]":
    env = {**os.environ, "OMP_NUM_THREADS": "1", **place.env}
    command = [*place.command, sys.executable, "-m", "recfold.bench.exchange.rank_process", task.model_dump_json()]
    with log.open("wb") as errors:
        return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
