"""What a side answers to a task, and the files that keep answers: nobody plans twice when a bench goes on."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recfold.bench.plan.torchrec_side import torchrec_assignment, torchrec_planning
from recfold.plan.cost import shipped_cost
from recfold.plan.cost.samples import drop_torn_line_, read_lines
from recfold.plan.piece import Piece
from recfold.plan.search import SEARCHERS, find
from recfold.plan.task import Assignment, Task
from recfold.spec import InputError

OURS = "best"
TORCHREC = "torchrec"
SIDES = (*SEARCHERS, TORCHREC)


@dataclass(frozen=True)
class Found:
    """Args:
    assignment: None where the side failed.
    seconds: wall-clock time to plan, in one process.
    failure: why it failed; empty where it did not.
    """

    assignment: Assignment | None
    seconds: float
    failure: str = ""

    def devices(self, task: Task) -> list[tuple[Piece, ...]]:
        """Pieces of each device, in an order that depends on nothing but the pieces."""
        assert self.assignment is not None
        held = self.assignment.by_rank(task.tables, task.ranks)
        return [tuple(sorted(own, key=lambda piece: (piece.table.name, piece.rows, piece.columns))) for own in held]


def answer(side: str, task: Task, seed: int) -> Found:
    """Let a side plan a task; all searches by the cost that ships.

    An impossible task is no answer, and so is a plan of TorchRec's that breaks the memory of a device.
    """
    if side == TORCHREC:
        torchrec_planning()  # importing it is not planning
    start = time.perf_counter()
    try:
        made = torchrec_assignment(task) if side == TORCHREC else find(task, shipped_cost(), search=side, seed=seed)
    except InputError as error:
        return Found(None, time.perf_counter() - start, str(error))
    seconds = time.perf_counter() - start
    made.plan(task)  # raises where pieces do not tile their tables
    over = int(made.rank_bytes(task).max(initial=0)) - (task.memory_bytes or 0)
    if task.memory_bytes is not None and over > 0:
        return Found(None, seconds, f"{over:,} bytes more than a device has")
    return Found(made, seconds)


class Answers:
    """Answers in a file, one line each; what was written by other code is not taken.

    Args:
        path: may not exist yet.
        versions: of a side: the code that its answers depend on.
    """

    def __init__(self, path: Path, versions: Callable[[str], str]) -> None:
        drop_torn_line_(path)
        self._path, self._versions = path, versions
        self._held = {self._key(own): own for own in read_lines(path)}

    def get(self, side: str, case: str, number: int, task: Task, seed: int) -> Found:
        """The answer of a side to a task, from the file or made now."""
        about = {"side": side, "case": case, "task": number, "seed": seed, "code": self._versions(side)}
        if self._key(about) not in self._held:
            found = answer(side, task, seed)
            line = {**about, "seconds": found.seconds, "failure": found.failure, "shards": _shards(found, task)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._held[self._key(line)] = line
        return _found(self._held[self._key(about)], task)

    @staticmethod
    def _key(line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in ("side", "case", "task", "seed", "code"))


def _shards(found: Found, task: Task) -> list[list[int]] | None:
    if found.assignment is None:
        return None
    places = {table.name: place for place, table in enumerate(task.tables)}
    return [
        [places[piece.table.name], *piece.rows, *piece.columns, rank]
        for piece, rank in zip(found.assignment.pieces, found.assignment.ranks.tolist(), strict=True)
    ]


def _found(line: dict[str, Any], task: Task) -> Found:
    if line["shards"] is None:
        return Found(None, line["seconds"], line["failure"])
    pieces = tuple(Piece(task.tables[own[0]], (own[1], own[2]), (own[3], own[4])) for own in line["shards"])
    ranks = np.array([own[5] for own in line["shards"]], np.int64)
    return Found(Assignment(pieces, ranks), line["seconds"])
