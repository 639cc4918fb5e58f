"""Training speed with folding, with folded lookups only, and the plain way, on the same batches in memory."""

import statistics
import time
from pathlib import Path

import torch

from recfold.batch import Batch
from recfold.spec import InputError, Schema, Settings
from recfold.table import FoldedTable
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.loss import check_labels
from recfold.train.progress import TrainProgress, silent
from recfold.train.run import table_of, write_json
from recfold.train.scores import first_batches
from recfold.train.settings import Fold, RunSettings, Schedule

MODES: tuple[Fold, ...] = ("on", "lookups", "off")
WARM_UP_STEPS = 2


class Throughput(Settings):
    """What `throughput.json` says.

    Args:
        batch_size: samples of a full batch.
        samples_per_s: way -> one figure per timed step.
        median_step_ms: way -> milliseconds.
        ratio: way -> its median speed over that of `off`.
    """

    batch_size: int
    device: str
    threads: int
    samples_per_s: dict[str, tuple[float, ...]]
    median_step_ms: dict[str, float]
    ratio: dict[str, float]


def measure_throughput(
    table: FoldedTable | Path | str,
    settings: RunSettings | None = None,
    *,
    schema: Schema | None = None,
    steps: int = 10,
    out: Path | None = None,
    progress: TrainProgress = silent,
) -> Throughput:
    """Time training steps of each way, in turns, on copies of one model.

    Batches are read, moved to the device and, for the plain way, expanded beforehand: what is timed is the step itself
    (lookups, forward, backward, updates). The first steps warm up and are not counted.

    Args:
        schema: an effective schema, where it is not that of the table.
        steps: timed steps of each way.
        out: where to keep the figures as JSON.
    Raises:
        InputError: the table has no training samples, or wrong labels.
    """
    settings, table = settings or RunSettings(), table_of(table)
    schema = schema or run_schema(table.schema, None, settings.tables, settings.model.without)
    learners = {mode: _learner(schema, settings, mode) for mode in MODES}
    batches = _batches(table, schema, settings, steps)
    timed: dict[str, list[float]] = {mode: [] for mode in MODES}
    sizes: list[int] = []
    for number in range(WARM_UP_STEPS + steps):
        batch = batches[number % len(batches)]
        sizes.append(batch.num_samples)
        for mode, learner in learners.items():
            timed[mode].append(_seconds(learner, batch))
        progress("measure throughput", number + 1, WARM_UP_STEPS + steps)
    seconds = {mode: times[WARM_UP_STEPS:] for mode, times in timed.items()}
    speeds = {
        mode: tuple(size / s for size, s in zip(sizes[WARM_UP_STEPS:], times, strict=True))
        for mode, times in seconds.items()
    }
    medians = {mode: statistics.median(speed) for mode, speed in speeds.items()}
    found = Throughput(
        batch_size=settings.train.batch_size,
        device=str(learners["on"].device),
        threads=torch.get_num_threads(),
        samples_per_s=speeds,
        median_step_ms={mode: statistics.median(times) * 1e3 for mode, times in seconds.items()},
        ratio={mode: medians[mode] / medians["off"] for mode in MODES},
    )
    if out is not None:
        write_json(out, found.model_dump(mode="json"))
    return found


def _learner(schema: Schema, settings: RunSettings, mode: Fold) -> Learner:
    return Learner(
        schema,
        settings.model_copy(update={"train": settings.train.model_copy(update={"fold": mode, "schedule": Schedule()})}),
    )


def _batches(table: FoldedTable, schema: Schema, settings: RunSettings, steps: int) -> list[Batch]:
    if "train" not in table.splits():
        raise InputError(f"table {table.path} has no training samples")
    found = first_batches(table, schema, settings, steps)
    for batch in found:
        check_labels(batch)
    return found


def _seconds(learner: Learner, batch: Batch) -> float:
    # a slice has no caches yet: no way profits from the one before it
    prepared = learner.prepared(batch.slice(0, batch.num_samples))
    _wait(learner.device)
    before = time.perf_counter()
    learner.step_prepared(prepared)
    _wait(learner.device)
    return time.perf_counter() - before


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
