"""The verb: train a model on a folded table, from the start or from where a run stopped."""

import dataclasses
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

import torch

import recfold
from recfold.checkpoint import latest, load, step_path
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable
from recfold.train.effective import run_schema
from recfold.train.journal import Journal, truncate_journal
from recfold.train.loop import Loop, Parts, own_generators, parts_of
from recfold.train.progress import TrainProgress, silent
from recfold.train.result import TrainResult
from recfold.train.run import (
    Run,
    check_free,
    chosen_checkpoint,
    forget_unstarted,
    keep_settings,
    open_run,
    resume_run,
    start_run,
    table_of,
    write_json,
)
from recfold.train.settings import RunSettings
from recfold.train.throughput import measure_throughput

PACKAGES = ("torch", "numpy", "pyarrow", "fbgemm-gpu-cpu", "fbgemm-gpu")


def train(
    table: FoldedTable | Path | str,
    out: Path | str,
    *,
    settings: RunSettings | None = None,
    schema: Schema | None = None,
    resume: bool = False,
    progress: TrainProgress = silent,
) -> TrainResult:
    """Train a model, keep everything about it under `out`, and evaluate it on the validation split.

    Ctrl-C and SIGTERM stop after the current step, with a checkpoint.

    Args:
        table: the folded table.
        out: the run's directory: new, or empty; with `resume` one that was trained into.
        settings: None for the defaults, or with `resume` for those of the run.
        schema: transforms, embedding tables and label weights instead of the table's.
        resume: go on from the newest complete checkpoint, bit for bit (same machine, same number of threads). Only more
            epochs or steps may be asked for.
        progress: see `TrainProgress`.
    Raises:
        InputError: wrong settings or data; a directory that exists; a resumed run with other settings; a loss that is
            not finite.
    """
    data, path = table_of(table), Path(out)
    if resume:
        own = settings or open_run(path).settings
        run = resume_run(
            path, settings, schema and run_schema(data.schema, schema, own.tables, own.model.without), data
        )
        settings, chosen = run.settings, run.schema
    else:
        check_free(path)
        settings = settings or RunSettings()
        chosen = run_schema(data.schema, schema, settings.tables, settings.model.without)
    with own_generators(settings.train.seed, settings.train.threads):
        parts = parts_of(data, chosen, settings)
        try:
            # only now, when all that can be wrong with the settings has been tried
            if resume:
                keep_settings(run)
            else:
                run = start_run(path, settings, chosen, data)
            return _train(run, parts, resume, progress)
        except InputError:
            if not resume:
                forget_unstarted(path)
            raise
        finally:
            parts.reader.close()


def _train(run: Run, parts: Parts, resume: bool, progress: TrainProgress) -> TrainResult:
    began = time.perf_counter()
    found = latest(run.path) if resume else None
    state = None if found is None else load(found.path)
    step = 0 if found is None else found.step
    if resume:
        truncate_journal(run.path, 0 if state is None else state["loop"]["journal_records"])
    with Journal(run.path, purge_step=step if resume else None) as journal:
        loop = Loop(run, parts, journal, progress)
        if state is not None:
            loop.load_state_dict(state)
        journal.write("resume" if resume else "start", step, **_circumstances(run, loop))
        for line in () if found is None else found.skipped:
            loop.event(f"a damaged checkpoint was passed over: {line}")
        ended = loop.train()
        result = _result(run, loop, ended)
        if ended != "interrupted":
            result = _evaluated(result, run, loop, progress)
        journal.write("end", loop.step, reason=ended, seconds=time.perf_counter() - began)
    return result


def _result(run: Run, loop: Loop, ended: str) -> TrainResult:
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
        notes=loop.learner.assembled.tables.notes(),
    )


def _evaluated(result: TrainResult, run: Run, loop: Loop, progress: TrainProgress) -> TrainResult:
    """Add the final evaluation and the throughput, and keep both in the run's directory."""
    if "validation" in loop.table.splits():
        if run.settings.train.stop.metric is not None:
            chosen = chosen_checkpoint(run)
            loop.take_weights(chosen.step, load(chosen.path))
        evaluation = loop.evaluation(baselines=True)
        write_json(run.path / "evaluation.json", evaluation.model_dump(mode="json"))
        result = dataclasses.replace(result, evaluation=evaluation)
    steps = run.settings.train.throughput_steps
    if steps > 0:
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
    }


def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
