"""Measured sets on disk: one JSON object a line, so that a collection that was stopped goes on where it was."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recfold.plan.piece import NUM_BINS, Piece
from recfold.spec import InputError

SETS = "sets.jsonl"
EXCHANGES = "exchanges.jsonl"
HARDWARE = "hardware.json"

COLUMNS = ("dim", "rows", "lists", "lookups", "num_bytes")
"""Of a piece, before its bins of accesses."""


@dataclass(frozen=True)
class Sample:
    """A set and what it took.

    Args:
        number: of the set; the same one may be measured in several turns.
        turn: 0 the first time.
        unseen: its tables are of the half of the pool that no network is trained on.
        pieces: float64 [P, 5 + 17]: `COLUMNS` and the bins.
        forward: share of the time that the forward takes.
        wall_ms: median of wall-clock time.
        repeats_ms, probes_ms: see `Timing`.
    """

    number: int
    turn: int
    unseen: bool
    pieces: np.ndarray
    forward: float
    wall_ms: float
    repeats_ms: tuple[float, ...]
    probes_ms: tuple[float, ...]


def piece_columns(pieces: Iterable[Piece]) -> np.ndarray:
    """What a cost has to know of each piece, float64 [P, 22]."""
    rows = [
        [piece.dim, piece.num_rows, piece.lists, piece.lookups, piece.num_bytes, *piece.table.accesses]
        for piece in pieces
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS) + NUM_BINS)


def to_line(sample: Sample) -> str:
    """One line of the file, with its end."""
    data: dict[str, Any] = asdict(sample)
    data["pieces"] = [[float(f"{number:.7g}") for number in piece] for piece in sample.pieces.tolist()]
    for name in ("repeats_ms", "probes_ms"):
        data[name] = [round(ms, 4) for ms in data[name]]
    return json.dumps(data) + "\n"


def read_samples(path: Path) -> Iterator[Sample]:
    """All samples of a file; a last line that was not written to its end is left out.

    Raises:
        InputError: a line that is no sample.
    """
    for data in read_lines(path):
        try:
            data["pieces"] = np.array(data["pieces"], dtype=np.float64).reshape(-1, len(COLUMNS) + NUM_BINS)
            yield Sample(**{**data, "repeats_ms": tuple(data["repeats_ms"]), "probes_ms": tuple(data["probes_ms"])})
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{path} holds a line that is no measured set", got=str(error)) from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file that may end in the middle of a line.

    Raises:
        InputError: a line before the last that is not JSON.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                raise InputError(f"{path} holds a line that is not JSON", got=line[:80]) from None


def drop_torn_line_(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
