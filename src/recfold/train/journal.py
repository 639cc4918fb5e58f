"""What happened in a run: one JSON object a line in `journal.jsonl`, and the same figures for TensorBoard.

Every record has `kind` and `step` (steps done when it was written):

    start, resume   versions, device, settings, what was resumed from
    step            epoch, samples, loss (weighted mean since the last such record), samples_per_s, lr, grad_norm,
                    rows_touched (distinct rows of the last batch); on several ranks wire_bytes (kind -> bytes a step
                    of all ranks, mean since the last such record) and wire_dense_bytes (of the dense all-reduce)
    evaluation      split, and per label the metrics
    event           message: anything that a reader of the run should know
    profile         hidden (see `recfold.train.tracing.Hidden`), of a run with --profile on several ranks
    wire            of all steps since the start: bytes a sample (see `recfold.train.traffic.WireSummary`)
    end             reason, seconds
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from recfold.spec import InputError

JOURNAL = "journal.jsonl"


def read_journal(run: Path) -> list[dict[str, Any]]:
    """Every record of a run, oldest first; a last line that was cut off by a kill is left out.

    Raises:
        InputError: the run has no journal, or a line in its middle is not JSON.
    """
    path = run / JOURNAL
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}", got=str(error)) from None
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise InputError(f"{path} line {number} is not JSON", got=repr(line[:60])) from None
    return records


def truncate_journal(run: Path, records: int) -> None:
    """Keep the first `records` lines: those that the checkpoint to resume from knows; the others are written again."""
    path = run / JOURNAL
    if not path.exists():
        return
    kept = path.read_bytes().splitlines(keepends=True)[:records]
    temporary = path.with_name(f".{JOURNAL}.{os.getpid()}")
    temporary.write_bytes(b"".join(line for line in kept if line.endswith(b"\n")))
    temporary.rename(path)


class Journal:
    """Appends records; a context manager that closes the files.

    Args:
        run: the run's directory.
        purge_step: TensorBoard forgets points after this step (a resumed run).

    Attributes:
        records: how many the journal holds.
    """

    def __init__(self, run: Path, purge_step: int | None = None) -> None:
        path = run / JOURNAL
        self.records = len(path.read_bytes().splitlines()) if path.exists() else 0
        self._file = path.open("a", encoding="utf-8")
        purge = None if purge_step is None else purge_step + 1
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=purge)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record; its numbers also go to TensorBoard as `<kind>/<name>`."""
        self._file.write(_line({"kind": kind, "step": step, **values}))
        self._file.flush()
        self.records += 1
        if kind in ("step", "evaluation"):
            for name, number in _numbers(values, kind):
                self._board.add_scalar(name, number, step)

    def flush(self) -> None:
        """Everything written so far is on disk afterwards."""
        os.fsync(self._file.fileno())
        self._board.flush()


class NoJournal:
    """The journal of a rank that writes none.

    Attributes:
        records: 0.
    """

    records = 0

    def __enter__(self) -> "NoJournal":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Forget it."""

    def flush(self) -> None:
        """Nothing to do."""


def _numbers(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            yield f"{prefix}/{name}", value


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
