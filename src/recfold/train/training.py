"""The verb: train a model on a folded table, from the start or from where a run stopped."""

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

import torch

import recfold
from recfold.checkpoint import Found, Writer, Writers, latest, load, step_path
from recfold.embed.kept_memory import keep_freed_memory
from recfold.plan import TableSize, save_plan
from recfold.spec import InputError, Plan, Schema
from recfold.table import FoldedTable
from recfold.train.assemble import table_sizes
from recfold.train.effective import run_schema
from recfold.train.handshake import PACKAGES, agree
from recfold.train.job import launcher
from recfold.train.journal import Journal, NoJournal, truncate_journal
from recfold.train.learner import resolve_device
from recfold.train.loop import Loop, Parts, own_generators, parts_of
from recfold.train.memory import check_memory, default_plan
from recfold.train.progress import TrainProgress, silent
from recfold.train.ranks import LostRank, Ranks, current_ranks
from recfold.train.result import TrainResult
from recfold.train.run import (
    PLAN,
    Run,
    TrainedOn,
    check_free,
    chosen_checkpoint,
    forget_unstarted,
    keep_settings,
    kept_plan,
    open_run,
    resume_run,
    start_run,
    table_of,
    write_json,
)
from recfold.train.settings import RunSettings
from recfold.train.throughput import measure_throughput
from recfold.train.tracing import Tracing


@dataclass(frozen=True)
class Start:
    """What a run is to be.

    Args:
        path: its directory.
        schema: the effective one.
        sizes: of its embedding tables.
        plan: where they lie.
        notes: lines for whoever started it.
    """

    path: Path
    table: FoldedTable
    schema: Schema
    settings: RunSettings
    sizes: Mapping[str, TableSize]
    plan: Plan
    notes: tuple[str, ...] = ()

    def as_run(self) -> Run:
        trained_on = TrainedOn(table=str(self.table.path), table_checksum=self.table.manifest.checksum)
        return Run(self.path, self.settings, self.schema, trained_on)


def train(
    table: FoldedTable | Path | str,
    out: Path | str,
    *,
    settings: RunSettings | None = None,
    schema: Schema | None = None,
    resume: bool = False,
    plan: Plan | None = None,
    profile: bool = False,
    progress: TrainProgress = silent,
) -> TrainResult:
    """Train a model, keep everything about it under `out`, and evaluate it on the validation split.

    Ctrl-C and SIGTERM stop after the current step, with a checkpoint.

    In a process group every rank calls it with the same arguments: they train one model, each on its share of the
    data, and all return; files are written by rank 0, and each rank's part of the checkpoints by itself.

    Args:
        table: the folded table.
        out: the run's directory: new, or empty; with `resume` one that was trained into.
        settings: None for the defaults, or with `resume` for those of the run.
        schema: transforms, embedding tables and label weights instead of the table's.
        resume: go on from the newest complete checkpoint, bit for bit (same machine, same number of threads). Only more
            epochs or steps may be asked for.
        plan: where embedding tables lie; None for that of the run where it is for so many ranks, else one that is
            searched for.
        profile: trace a few steps of each rank into `out`, and measure what overlap hides.
        progress: see `TrainProgress`.
    Raises:
        InputError: wrong settings or data; a directory that exists; a resumed run with other settings; a loss that is
            not finite; ranks that differ. On several ranks one of them raises it, the others `OtherRankFailed`.
    """
    ranks = current_ranks()
    started = ranks.together(lambda: _started(table, Path(out), settings, schema, resume, plan, ranks))
    assert started is not None
    return _run(started, resume, profile, ranks, progress if ranks.is_first else silent)


def _run(start: Start, resume: bool, profile: bool, ranks: Ranks, progress: TrainProgress) -> TrainResult:
    job, own = agree(ranks, start), start.settings
    device = resolve_device(own.train.device).type
    keep_freed_memory()
    fits = ranks.together(lambda: check_memory(start.plan, start.sizes, own.ranks.memory_gb, ranks, device))
    with own_generators(own.train.seed, own.train.threads):
        parts = ranks.together(lambda: parts_of(start.table, start.schema, own, ranks, start.plan))
        assert parts is not None
        try:
            # only now, when all that can be wrong with the settings has been tried
            launchers = sorted({own for own in ranks.gather(launcher()) if own is not None})
            ranks.together(lambda: _prepare(start, resume, launchers), only_first=True)
            spread = parts.learner.spread
            tracing = Tracing(start.path, ranks, () if spread is None else spread.wires) if profile else None
            return _train(dataclasses.replace(start, notes=(str(fits),)), parts, resume, job, tracing, progress)
        except LostRank:
            raise  # to be gone on with
        except InputError:
            if not resume and ranks.is_first:
                forget_unstarted(start.path)
            raise
        finally:
            parts.reader.close()


def _started(
    table: FoldedTable | Path | str,
    path: Path,
    settings: RunSettings | None,
    schema: Schema | None,
    resume: bool,
    plan: Plan | None,
    ranks: Ranks,
) -> Start:
    """What a run is to be, nothing of it written yet."""
    data = table_of(table)
    if resume:
        own = settings or open_run(path).settings
        run = resume_run(
            path, settings, schema and run_schema(data.schema, schema, own.tables, own.model.without), data
        )
        chosen, settings = run.schema, run.settings
        plan = plan or kept_plan(path, ranks.size)
    else:
        check_free(path)
        settings = settings or RunSettings()
        chosen = run_schema(data.schema, schema, settings.tables, settings.model.without)
    sizes = table_sizes(chosen, settings)
    plan = plan or default_plan(sizes, ranks.size, settings.ranks.memory_gb)
    plan.check_tables({name: (size.rows, size.dim) for name, size in sizes.items()}, ranks.size)
    return Start(path, data, chosen, settings, sizes, plan)


def _prepare(start: Start, resume: bool, launchers: Sequence[str]) -> None:
    """Make the directory of a new run, or write the settings of a resumed one, which may have grown."""
    if resume:
        keep_settings(start.as_run())
    else:
        start_run(start.path, start.settings, start.schema, start.table, launchers)
    if start.plan.ranks > 1:
        save_plan(start.plan, start.path / PLAN)


def _train(
    start: Start, parts: Parts, resume: bool, job: str, tracing: Tracing | None, progress: TrainProgress
) -> TrainResult:
    began, ranks, run = time.perf_counter(), parts.learner.ranks, start.as_run()
    found = _checkpoint(run, ranks) if resume else None
    state = None if found is None else load(found.path, ranks.rank, verified=True)
    step = 0 if found is None else found.step
    if resume and ranks.is_first:
        truncate_journal(run.path, 0 if state is None else state["loop"]["journal_records"])
    writers = Writers(ranks.rank, ranks.size, job, run.settings.ranks.timeout_s)
    with (
        Journal(run.path, purge_step=step if resume else None) if ranks.is_first else NoJournal() as journal,
        Writer(run.path, keep=run.settings.train.keep, writers=writers) as writer,
    ):
        loop = Loop(run, parts, journal, writer, progress, tracing)
        if state is not None:
            loop.load_state_dict(state)
        journal.write("resume" if resume else "start", step, **_circumstances(run, loop))
        for line in start.notes:
            loop.event(line)
        for line in () if found is None else found.skipped:
            loop.event(f"a damaged checkpoint was passed over: {line}")
        ended = loop.train()
        result = _measured(_result(run, loop, ended, start.notes), loop)
        if ended != "interrupted":
            result = _evaluated(result, run, loop, progress)
        journal.write("end", loop.step, reason=ended, seconds=time.perf_counter() - began)
        ranks.wait_for_all()
    return result


def _checkpoint(
    run: Run, ranks: Ranks, choose: Callable[[Run], Found | None] = lambda run: latest(run.path)
) -> Found | None:
    """The checkpoint that rank 0 chooses, and has verified."""
    found = ranks.together(lambda: choose(run), only_first=True)
    said: Any = ranks.first(
        None if found is None else [str(found.path), found.step, found.best_step, list(found.skipped)]
    )
    return None if said is None else Found(Path(said[0]), said[1], said[2], tuple(said[3]))


def _result(run: Run, loop: Loop, ended: str, notes: tuple[str, ...]) -> TrainResult:
    messages = {
        "finished": f"trained {loop.step} steps",
        "early stopping": f"stopped early after {loop.step} steps; the best was step {loop.stopping.best_step}",
        "interrupted": f"interrupted after step {loop.step}; go on with: "
        f"recfold train {run.trained_on.table} --out {run.path} --resume",
    }
    return TrainResult(
        run=run.path,
        steps=loop.step,
        epochs=loop.epoch,
        loss=loop.last_loss,
        ended=cast(Literal["finished", "early stopping", "interrupted"], ended),
        message=messages[ended],
        checkpoint=step_path(run.path, loop.step),
        notes=(*loop.learner.assembled.notes(), *notes),
    )


def _measured(result: TrainResult, loop: Loop) -> TrainResult:
    """Add what crossed the wire, and what a trace says of it."""
    tracing, traffic, found = loop.tracing, loop.learner.traffic, result
    if tracing is not None:
        tracing.finish()  # a run of few steps
        found = dataclasses.replace(found, trace=tracing.path.parent, hidden=tracing.hidden)
        if tracing.is_fresh():
            loop.journal.write("profile", loop.step, **tracing.figures())
    if traffic is not None:
        summary = traffic.so_far().over(loop.ranks).summary()
        found = dataclasses.replace(found, wire=summary)
        loop.journal.write("wire", loop.step, **summary.model_dump(mode="json"))
    return found


def _evaluated(result: TrainResult, run: Run, loop: Loop, progress: TrainProgress) -> TrainResult:
    """Add the final evaluation and the throughput, and keep both in the run's directory."""
    if "validation" in loop.table.splits():
        if run.settings.train.stop.metric is not None:
            chosen = _checkpoint(run, loop.ranks, chosen_checkpoint)
            assert chosen is not None
            loop.take_weights(chosen.step, load(chosen.path, loop.ranks.rank, verified=True))
        evaluation = loop.evaluation(baselines=True)
        if evaluation is not None:
            write_json(run.path / "evaluation.json", evaluation.model_dump(mode="json"))
            result = dataclasses.replace(result, evaluation=evaluation)
    steps = run.settings.train.throughput_steps
    if steps > 0 and loop.ranks.size > 1:
        loop.event("throughput is measured in one process only")
    elif steps > 0:
        throughput = measure_throughput(
            loop.table,
            run.settings,
            schema=run.schema,
            steps=steps,
            out=run.path / "throughput.json",
            progress=progress,
        )
        result = dataclasses.replace(result, throughput=throughput)
    return result


def _circumstances(run: Run, loop: Loop) -> dict[str, Any]:
    return {
        "table": run.trained_on.table,
        "settings": run.settings.model_dump(mode="json"),
        "versions": {"recfold": recfold.__version__, "python": platform.python_version(), **_installed()},
        "device": str(loop.learner.device),
        "threads": torch.get_num_threads(),
        "cpu": platform.processor() or platform.machine(),
        "kernels": dict(loop.learner.assembled.tables.kernels()),
        "total_steps": loop.total_steps,
        "ranks": loop.ranks.size,
    }


def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
