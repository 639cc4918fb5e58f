"""A run's directory and its table, as the facts that the report shows; what is missing becomes a note."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from recfold.report.facts import FoldFacts, History, RunFacts, StepPoint, ValidationPoint, WirePoint
from recfold.report.format import plural
from recfold.spec import InputError, Schema, Settings
from recfold.table import FoldedTable, inspect, open_table
from recfold.train import Evaluation, Hidden, Throughput, open_run, read_journal

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound=Settings)
Record = Mapping[str, Any]


def read_run(run: Path, table: Path | None = None) -> RunFacts:
    """Everything that is known of a run.

    Args:
        table: its folded table; where the run says it is if None.
    Raises:
        InputError: `run` is no run, or what it was started with is damaged.
    """
    opened = open_run(run)
    notes: list[str] = []
    place = Path(opened.trained_on.table) if table is None else table
    data = _or_note(lambda: open_table(place), notes)
    if data is not None and data.manifest.checksum != opened.trained_on.table_checksum:
        notes.append(f"The table {place} is not the one that this run was trained on: its manifest differs.")
    journal = [r for r in _or_note(lambda: read_journal(run), notes) or [] if isinstance(r, dict) and "step" in r]
    begin = _last_start(journal)
    return RunFacts(
        run=str(run),
        table=str(place),
        settings=opened.settings,
        versions={str(name): str(version) for name, version in begin.get("versions", {}).items()},
        circumstances=_circumstances(begin),
        history=read_history(journal),
        evaluation=_or_note(lambda: _read(run / "evaluation.json", Evaluation), notes),
        throughput=_or_note(lambda: _read(run / "throughput.json", Throughput), notes),
        fold=None if data is None else _fold(data),
        own_schema=data is not None and _differs(opened.schema, data.schema),
        notes=tuple(notes),
    )


def read_history(journal: list[dict[str, Any]]) -> History:
    """Steps, evaluations and events of a journal, in its order.

    Example:
        >>> read_history([{"kind": "step", "step": 20, "loss": 0.5, "lr": 0.001}]).steps
        (StepPoint(step=20, loss=0.5, learning_rate=0.001),)
    """
    steps = [r for r in journal if r.get("kind") == "step" and r.get("loss") is not None]
    evaluations = [r for r in journal if r.get("kind") == "evaluation"]
    return History(
        steps=tuple(StepPoint(r["step"], r["loss"], r.get("lr")) for r in steps),
        validation=tuple(
            ValidationPoint(r["step"], str(label), metrics.get("ne"), metrics.get("auc"))
            for r in evaluations
            for label, metrics in r.get("labels", {}).items()
        ),
        events=tuple(line for r in journal if (line := _event(r)) is not None),
        wire=tuple(
            WirePoint(r["step"], r.get("samples", 0), r["wire_bytes"], r.get("wire_dense_bytes", 0.0))
            for r in steps
            if r.get("wire_bytes")
        ),
        hidden=_hidden(journal),
    )


def _hidden(journal: list[dict[str, Any]]) -> Hidden | None:
    """Of the last trace."""
    found = [
        {name: r[name] for name in Hidden.model_fields if name in r} for r in journal if r.get("kind") == "profile"
    ]
    return Hidden.parse(found[-1], "a profile record of the journal") if found else None


def _event(record: Record) -> str | None:
    kind, when = record.get("kind"), f"step {record.get('step', 0):,}"
    if kind == "resume":
        return f"{when}: resumed"
    if kind == "event":
        return f"{when}: {record.get('message', '')}"
    if kind == "end":
        return f"{when}: ended ({record.get('reason', 'no reason given')}) after {record.get('seconds', 0.0):,.0f} s"
    return None


def _last_start(journal: list[dict[str, Any]]) -> Record:
    starts = [record for record in journal if record.get("kind") in ("start", "resume")]
    return starts[-1] if starts else {}


def _circumstances(begin: Record) -> dict[str, str]:
    """Texts and numbers of a start record, and how many tables each kernel serves."""
    shown = {
        name.replace("_", " "): str(value)
        for name, value in begin.items()
        if name not in ("kind", "step", "table") and isinstance(value, str | int | float)
    }
    kernels = Counter(begin.get("kernels", {}).values())
    if kernels:
        shown["embedding kernels"] = ", ".join(
            f"{name} ({plural(number, 'table')})" for name, number in sorted(kernels.items())
        )
    return shown


def _fold(table: FoldedTable) -> FoldFacts:
    return FoldFacts(inspect(table), cut=_time(table.manifest.cut), settings=table.manifest.settings)


def _time(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{rest:06d} UTC" if rest else f"{text} UTC"


def _differs(run: Schema, table: Schema) -> bool:
    """Whether the run was given transforms, tables of features, or label weights of its own."""
    plain = table.with_default_hashes()
    return run.features != plain.features or run.labels != plain.labels


def _or_note(read: Callable[[], T | None], notes: list[str]) -> T | None:
    try:
        return read()
    except InputError as error:
        notes.append(str(error))
        return None


def _read(path: Path, kind: type[SettingsT]) -> SettingsT | None:
    """A JSON file of the run; None where it is not there (yet)."""
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}", got=str(error)) from None
    return kind.parse(data, str(path))
