"""A run's directory: what it was trained on and how, and what lies where.

settings.json     RunSettings
schema.json       the effective schema: the table's with the run's transforms and table sizes
run.json          format and recfold versions, the table and its manifest's checksum
evaluation.json   of the validation split; of another one evaluation-SPLIT.json
plan.json         of a run on several ranks: where its embedding tables lie
job.json          of a run that torchrun started: by which, so that a restart of the ranks goes on with no other run
journal.jsonl, tensorboard/, checkpoints/, throughput.json, offending-batch/
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

import recfold
from recfold.checkpoint import Found, best, latest, saved_steps
from recfold.plan import load_plan
from recfold.spec import InputError, Plan, Schema, Settings
from recfold.table import FoldedTable, open_table
from recfold.train.job import JOB
from recfold.train.settings import RunSettings, check_resumable

FORMAT_VERSION = 1
PLAN = "plan.json"
SettingsT = TypeVar("SettingsT", bound=Settings)


class TrainedOn(Settings):
    """What `run.json` says.

    Args:
        table: path of the folded table, as it was given.
        table_checksum: checksum of its manifest, which names the checksums of its files.
    """

    format_version: int = Field(default=FORMAT_VERSION, le=FORMAT_VERSION)
    recfold_version: str = recfold.__version__
    table: str
    table_checksum: str


@dataclass(frozen=True)
class Run:
    """A run that was started: its directory and what it was started with."""

    path: Path
    settings: RunSettings
    schema: Schema
    trained_on: TrainedOn


def open_run(path: Path | str) -> Run:
    """Read what a run was started with.

    Raises:
        InputError: there is no run, or one of its files is damaged.
    """
    path = Path(path)
    if not (path / "settings.json").exists():
        raise InputError(f"{path} is not a run", expected="the directory that `recfold train --out` wrote")
    trained_on = _read(path / "run.json", TrainedOn)
    return Run(path, _read(path / "settings.json", RunSettings), _read(path / "schema.json", Schema), trained_on)


def start_run(
    path: Path, settings: RunSettings, schema: Schema, table: FoldedTable, launchers: Sequence[str] = ()
) -> Run:
    """Make the directory of a new run.

    Args:
        launchers: every torchrun that has started ranks of it.
    Raises:
        InputError: it exists and is not empty, or cannot be made.
    """
    check_free(path)
    trained_on = TrainedOn(table=str(table.path), table_checksum=table.manifest.checksum)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "schema.json", schema.model_dump(mode="json"))
        write_json(path / "run.json", trained_on.model_dump(mode="json"))
        if launchers:
            write_json(path / JOB, {"launchers": list(launchers)})
        write_json(path / "settings.json", settings.model_dump(mode="json"))  # last: it makes the directory a run
    except OSError as error:
        raise InputError(f"cannot write into {path}", got=str(error)) from None
    return Run(path, settings, schema, trained_on)


def check_free(path: Path) -> None:
    """Raises:
    InputError: something is at `path` that a new run would be mixed up with.
    """
    if path.exists() and (not path.is_dir() or any(not _left_unstarted(path, entry) for entry in path.iterdir())):
        resumable = (path / "settings.json").exists()
        raise InputError(
            f"{path} exists already",
            todo="give --resume to go on with it, or another directory" if resumable else "give another directory",
        )


def _left_unstarted(path: Path, entry: Path) -> bool:
    """Whether `entry` is what a run leaves that was killed before `settings.json` made its directory a run."""
    names = ("schema.json", "run.json", JOB)
    temporary = any(entry.name.startswith(f".{name}.") for name in (*names, "settings.json"))
    return not (path / "settings.json").exists() and (entry.name in names or temporary)


def forget_unstarted(path: Path) -> None:
    """Remove what a run wrote that failed before its first checkpoint; an offending batch stays to be looked at."""
    if saved_steps(path):
        return
    for name in ("settings.json", "schema.json", "run.json", JOB, PLAN, "journal.jsonl"):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "tensorboard", ignore_errors=True)
    shutil.rmtree(path / "checkpoints", ignore_errors=True)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def resume_run(path: Path, settings: RunSettings | None, schema: Schema | None, table: FoldedTable) -> Run:
    """Open a run to go on with it.

    Args:
        settings: None for those it was started with; else the same, or with more epochs or steps.
        schema: None for the one it was started with; else the same.
    Raises:
        InputError: no run, another table, or settings or schema that differ.
    """
    run = open_run(path)
    if table.manifest.checksum != run.trained_on.table_checksum:
        raise InputError(
            f"{path} was trained on another table",
            got=f"{table.path} with manifest checksum {table.manifest.checksum}",
            expected=f"{run.trained_on.table} with {run.trained_on.table_checksum}",
        )
    if schema is not None and schema != run.schema:
        raise InputError(
            "a resumed run keeps its schema", todo="resume without --schema, or train into a new directory"
        )
    if settings is None or settings == run.settings:
        return run
    check_resumable(run.settings, settings)
    return Run(path, settings, run.schema, run.trained_on)


def keep_settings(run: Run) -> None:
    """Write the settings of a resumed run, which may have grown."""
    write_json(run.path / "settings.json", run.settings.model_dump(mode="json"))


def kept_plan(path: Path, ranks: int) -> Plan | None:
    """The plan that a run was last trained by on several ranks, where it is for so many.

    Raises:
        InputError: the file is damaged.
    """
    plan = load_plan(path / PLAN) if (path / PLAN).exists() else None
    return plan if plan is not None and plan.ranks == ranks else None


def chosen_checkpoint(run: Run, choice: str | None = None) -> Found:
    """The checkpoint to use: `best`, `last`, or None for the best where the run stops early, else the last.

    Raises:
        InputError: the run has none that is complete.
    """
    if choice not in (None, "best", "last"):
        raise InputError("unknown checkpoint", got=repr(choice), expected="best or last")
    use_best = choice == "best" or (choice is None and run.settings.train.stop.metric is not None)
    found = best(run.path) if use_best else latest(run.path)
    if found is None:
        raise InputError(f"{run.path} has no checkpoint yet", todo="train it first")
    return found


def table_of(table: FoldedTable | Path | str) -> FoldedTable:
    """An open table, of an open table or a path."""
    return table if isinstance(table, FoldedTable) else open_table(Path(table))


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def _read(path: Path, kind: type[SettingsT]) -> SettingsT:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}", got=str(error)) from None
    return kind.parse(data, str(path))
