"""What a finished or interrupted training run tells its caller."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recfold.train.evaluation import Evaluation
from recfold.train.throughput import Throughput


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
