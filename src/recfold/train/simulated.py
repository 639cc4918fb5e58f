"""How long the steps of a finished run should have taken by the simulation, and how long they took.

The dense part and the reading of a batch are timed here, alone, on one thread; the lookups come from the cost, the
exchanges from what was measured with it. Nothing is fitted to the run.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recfold.batch import Batch, plain
from recfold.plan.cluster import Cluster
from recfold.plan.simulate import DensePart, Step, machine_of, simulate
from recfold.spec import InputError, Plan, Schema, Topology, num_cpus
from recfold.spec.plan import table_wise
from recfold.table import FoldedTable
from recfold.train.effective import schema_on
from recfold.train.journal import read_journal
from recfold.train.learner import Learner
from recfold.train.loss import summed_loss, total_weight
from recfold.train.planning import measured_loads
from recfold.train.run import Run, kept_plan, open_run, table_of
from recfold.train.scores import first_batches, reader_of
from recfold.train.settings import RunSettings

REPEATS, WARM_UPS = 5, 2
BATCHES_READ = 4
QUIET_QUANTILE = 0.9
"""Of the speeds of a run, what counts."""


@dataclass(frozen=True)
class CheckedStep:
    """Args:
    run: name of its folder.
    ranks: it was trained on.
    measured_ms: milliseconds of a step by the 90 % quantile of the journal's speeds, the first third left out: who else
        uses the machine only slows it down.
    step: as it is predicted.
    read_ms: of a batch, on a core.
    """

    run: str
    ranks: int
    measured_ms: float
    step: Step
    read_ms: float

    @property
    def error(self) -> float:
        """Of the prediction: 0.1 is 10 % too slow."""
        return self.step.ms / self.measured_ms - 1


def check_simulation(run: Path | str, *, cost: str = "neural") -> CheckedStep:
    """Predict the step of a finished run on this machine, and compare it with its journal.

    Args:
        run: folder of a run on the CPUs of this machine, without accumulation.
        cost: of lookups, see `choose_cost`.
    Raises:
        InputError: no such run or table, a run on GPUs or with accumulation, or a journal without steps.
    """
    opened = open_run(Path(run))
    last = _last_start(opened)
    ranks = last.ranks
    plan = kept_plan(opened.path, ranks) if ranks > 1 else None
    if ranks > 1 and plan is None:
        raise InputError(f"{opened.path} keeps no plan for the {ranks} ranks that it was last trained on")
    table = table_of(opened.trained_on.table)
    ahead = opened.settings.reader.model_copy(update={"workers": 0})
    settings = opened.settings.model_copy(update={"reader": ahead})
    measured = _measured_ms(last, settings.train.batch_size * ranks)
    loads = measured_loads(table, ranks, settings=settings, schema=opened.schema)
    dense = _dense_part(opened, table, settings)
    machine = machine_of(
        Cluster(cores_per_host=num_cpus()), ranks, settings.train.batch_size, cost=cost, by_row=frozenset(loads.by_row)
    )
    tables = loads.of_ranks(ranks)
    placed = {own.name: table_wise(own.rows, own.dim, rank=0) for own in tables}
    step = simulate(
        plan or Plan(topology=Topology(ranks=1), tables=placed),
        tables,
        dataclasses.replace(machine, dense=dense),
        overlap=settings.ranks.overlap == "on",
    )
    return CheckedStep(Path(run).name, ranks, measured, step, dense.read_ms)


@dataclass(frozen=True)
class LastStart:
    """The last time that a run was started, or gone on with, and took steps.

    Args:
        speeds: samples a second of all ranks, of those steps' journal records, the first third left out.
    """

    run: Path
    ranks: int
    speeds: tuple[float, ...]


def _last_start(run: Run) -> LastStart:
    """Raises:
    InputError: it was on GPUs or with accumulation, of which the simulation knows nothing.
    """
    records = read_journal(run.path)
    starts: list[tuple[dict[str, Any], list[float]]] = []
    for own in records:
        if own["kind"] in ("start", "resume"):
            starts.append((own, []))
        elif starts and own["kind"] == "step" and own.get("samples_per_s"):
            starts[-1][1].append(own["samples_per_s"])
    if not starts:
        raise InputError(f"the journal of {run.path} has no start", todo="train the run again")
    start, speeds = next((own for own in reversed(starts) if own[1]), starts[-1])
    if not str(start["device"]).startswith("cpu"):
        raise InputError("only runs on CPUs can be compared", got=f"{run.path} on {start['device']}")
    if run.settings.train.accumulate > 1:
        raise InputError(
            "only runs without accumulation can be compared",
            got=f"{run.path} with train.accumulate={run.settings.train.accumulate}",
        )
    return LastStart(run.path, start["ranks"], tuple(speeds[len(speeds) // 3 :]))


def _measured_ms(last: LastStart, samples: int) -> float:
    if len(last.speeds) < 2:
        raise InputError(
            f"the journal of {last.run} has too few steps to compare with",
            got=len(last.speeds),
            todo="train longer, or with --set train.log_every=5",
        )
    return samples / float(np.quantile(last.speeds, QUIET_QUANTILE)) * 1e3


def _dense_part(run: Run, table: FoldedTable, settings: RunSettings) -> DensePart:
    """Time forward, backward and update of the dense part on one thread, and the reading of a batch."""
    schema = schema_on(table.schema, run.schema)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learner = Learner(schema, settings)
        (batch,) = first_batches(table, schema, settings, 1)
        forward, backward = _median_ms(learner, batch)
        read_ms = _read_ms(table, settings, schema)
    finally:
        torch.set_num_threads(threads)
    parameters = sum(own.numel() for own in learner.parameters)
    return DensePart(forward, backward, parameters=parameters, read_ms=read_ms)


def _median_ms(learner: Learner, batch: Batch) -> tuple[float, float]:
    """Milliseconds of the model's forward, and of its backward to the looked-up rows with the update."""
    times = []
    for _ in range(WARM_UPS + REPEATS):
        prepared = learner.prepared(batch.slice(0, batch.num_samples))
        # cut from their tables: what is timed ends at the gradients of the rows
        looked_up = learner.assembled.tables(learner.assembled.bags(prepared))
        rows = {name: own.detach().requires_grad_() for name, own in looked_up.items()}
        start = time.process_time()
        logits = _logits(learner, prepared, rows)
        middle = time.process_time()
        loss = summed_loss(logits, prepared, learner.label_weights_L) / (total_weight(prepared) or 1.0)
        loss.backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
        times.append((middle - start, time.process_time() - middle))
    kept = times[WARM_UPS:]
    return statistics.median(a for a, _ in kept) * 1e3, statistics.median(b for _, b in kept) * 1e3


def _logits(learner: Learner, prepared: Batch, rows: Mapping[str, Tensor]) -> Tensor:
    inputs = learner.assembled.arriving(prepared, lambda: rows)
    return plain(learner.model(inputs.unfold() if learner.fold == "lookups" else inputs))


def _read_ms(table: FoldedTable, settings: RunSettings, schema: Schema) -> float:
    """Of a core, a batch; the first ones wait for blocks, so a few are taken together."""
    times = []
    with reader_of(table, "train", schema, settings, order=settings.train.order) as reader:
        batches = iter(reader)
        start = time.process_time()
        for _ in itertools.islice(batches, BATCHES_READ):
            times.append(time.process_time() - start)
            start = time.process_time()
    return statistics.fmean(times) * 1e3
