"""Measured sets of pieces, each once a turn whoever has it; kept in a file."""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recfold.plan.cost import Stopwatch
from recfold.plan.cost.hardware import hardware, hardware_line
from recfold.plan.cost.measured import quiet_probe_ms, settled_ms
from recfold.plan.cost.samples import drop_torn_line_, read_lines
from recfold.plan.piece import Piece
from recfold.spec import InputError

Pieces = tuple[Piece, ...]

MOST_TOGETHER = 40
"""Sets whose ids are held in memory at once; more are measured one such group after the other."""

REPEATS = 10
"""Of a set in a turn."""


class Clock(Protocol):
    """What times sets."""

    def measure_in_turns(self, sets: Sequence[Sequence[Piece]], *, repeats: int | None = None, seed: int = 0) -> Any:
        """A `Timing` of each."""
        ...


@dataclass(frozen=True)
class Clocked:
    """A set in one turn: CPU milliseconds of its repeats, and of the probe with each (see `Stopwatch`)."""

    repeats_ms: tuple[float, ...]
    probes_ms: tuple[float, ...]


class ClockedSets:
    """Sets and what they take on one thread of this machine.

    Args:
        path: of a file that is gone on with; may not exist yet.
        clock: what times; made when it is first needed where not given.
    Raises:
        InputError: the file was measured on other hardware.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        drop_torn_line_(path)
        self._path, self._clock = path, clock
        self._held: dict[tuple[str, int], Clocked] = {}
        self._probes_ms: list[float] = []
        own = hardware()
        lines = list(read_lines(path))
        if not lines:
            path.write_text(json.dumps(own) + "\n", encoding="utf-8")
        elif lines[0] != own:
            raise InputError(
                f"{path} was measured on other hardware",
                got=hardware_line(own),
                expected=hardware_line(lines[0]),
                todo="name a new folder",
            )
        for line in lines[1:]:
            self._keep(line["set"], line["turn"], Clocked(tuple(line["repeats_ms"]), tuple(line["probes_ms"])))

    def measure(self, sets: Sequence[Pieces], turn: int) -> None:
        """Time sets that are to be compared, but for those that were in this turn; each turn draws other ids."""
        new = [pieces for pieces in sets if pieces and (key_of(pieces), turn) not in self._held]
        if new and self._clock is None:
            self._clock = Stopwatch()
        for first in range(0, len(new), MOST_TOGETHER):
            assert self._clock is not None
            own = new[first : first + MOST_TOGETHER]
            keys = [key_of(pieces) for pieces in own]
            timings = self._clock.measure_in_turns(own, repeats=REPEATS, seed=int(keys[0][:8], 16) + turn)
            lines = [
                {"set": key, "turn": turn, "repeats_ms": timing.repeats_ms, "probes_ms": timing.probes_ms}
                for key, timing in zip(keys, timings, strict=True)
            ]
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
            for key, timing in zip(keys, timings, strict=True):
                self._keep(key, turn, Clocked(timing.repeats_ms, timing.probes_ms))

    def _keep(self, key: str, turn: int, own: Clocked) -> None:
        self._held[key, turn] = own
        self._probes_ms += own.probes_ms

    def each_ms(self, pieces: Pieces, turns: Sequence[int]) -> list[float]:
        """What counts of each turn in which a set was measured."""
        key = key_of(pieces)
        held = [self._held[key, turn] for turn in turns if (key, turn) in self._held]
        quiet_ms = quiet_probe_ms(self._probes_ms) if self._probes_ms else 0.0
        return [settled_ms(own.repeats_ms, own.probes_ms, quiet_ms) for own in held]

    def noise(self, turns: Sequence[int]) -> float | None:
        """|a - b| over the mean of a and b, a and b being the first two turns of a set; mean over sets."""
        if len(turns) < 2:
            return None
        quiet_ms = quiet_probe_ms(self._probes_ms) if self._probes_ms else 0.0
        found = []
        for key, turn in self._held:
            if turn == turns[0] and (key, turns[1]) in self._held:
                one, other = (
                    settled_ms(own.repeats_ms, own.probes_ms, quiet_ms)
                    for own in (self._held[key, turns[0]], self._held[key, turns[1]])
                )
                found.append(2 * abs(one - other) / (one + other))
        return statistics.fmean(found) if found else None


def key_of(pieces: Pieces) -> str:
    """The same for the same pieces of the same loads."""
    own = [
        (piece.table.name, piece.table.lookups, piece.table.lists, piece.rows, piece.columns, piece.table.dim)
        for piece in pieces
    ]
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:24]
