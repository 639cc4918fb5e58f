"""What a finished or interrupted training run tells its caller."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recfold.train.evaluation import Evaluation
from recfold.train.throughput import Throughput
from recfold.train.tracing import Hidden
from recfold.train.traffic import WireSummary


@dataclass(frozen=True)
class TrainResult:
    """A run's end.

    Args:
        run: its directory.
        steps: steps done, resumed ones included; epochs: whole passes done.
        loss: weighted mean loss of the last journal window; None where no step was done.
        ended: `finished`, `early stopping` or `interrupted`.
        message: the same in a sentence; after an interruption it says how to go on.
        checkpoint: the last one.
        notes: which kernel serves which tables, and why.
        evaluation: on the validation split with the weights that `evaluate` would take; None without such samples or
            after an interruption.
        throughput: speed of the three ways; None where it was not measured.
        wire: what crossed it; None on one rank.
        trace: folder of a trace of some steps of each rank; None where none was asked for.
        hidden: what overlap hid in those steps; None without them, and on one rank.
    """

    run: Path
    steps: int
    epochs: int
    loss: float | None
    ended: Literal["finished", "early stopping", "interrupted"]
    message: str
    checkpoint: Path
    notes: tuple[str, ...]
    evaluation: Evaluation | None = None
    throughput: Throughput | None = None
    wire: WireSummary | None = None
    trace: Path | None = None
    hidden: Hidden | None = None
