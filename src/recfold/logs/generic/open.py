"""Open logs that a schema describes: find the files, look at their columns, infer what was not said."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recfold.logs.generic.block import Columns
from recfold.logs.generic.column_type import ColumnType
from recfold.logs.generic.files import FORMATS, find_files, format_of
from recfold.logs.generic.read import Log, check_same_keys, key_type
from recfold.logs.generic.roles import Use, target_type
from recfold.logs.generic.uses import (
    check_present,
    impression_uses,
    infer_features,
    only_event,
    outcome_uses,
    side_uses,
)
from recfold.logs.source import LogSource
from recfold.spec import InputError, Schema


def open_generic(path: Path, schema: Schema) -> LogSource:
    """Logs in Parquet, CSV or JSONL files below a folder.

    Looks at the columns of every file first (Parquet: at its footer only; CSV and JSONL: at all of it), so that what
    does not fit is said before anything is read. Files are read in the order of their names, in blocks of bounded size.

    Args:
        path: folder of the logs.
        schema: what their columns are, as `features.toml` says it (docs/features.md).
    Raises:
        InputError: a file or column is missing, cannot be read, or is of a type that does not fit; one line.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", todo="name the folder that holds the logs")
    events = [name for name, label in schema.labels.items() if label.event is not None]
    if events and schema.logs.outcomes is None:
        raise InputError(
            f"label {events[0]!r} comes from an event, but logs.outcomes is not set",
            todo='write outcomes = "outcomes/*.parquet" in [logs]',
        )
    files, name, columns = _look(path, schema.logs.impressions, "logs.impressions", schema, impression_uses(schema))
    check_present(impression_uses(schema), columns)
    schema, inferred = infer_features(schema, columns)
    uses = impression_uses(schema)
    check_present(uses, columns)
    impressions = _log("impressions", path, files, name, columns, uses, {})
    logs = {}
    if schema.logs.outcomes is not None:
        uses = outcome_uses(schema)
        files, name, columns = _look(path, schema.logs.outcomes, "logs.outcomes", schema, uses)
        event = only_event(schema)
        logs["outcomes"] = _log("outcomes", path, files, name, columns, uses, {"event": event} if event else {})
    for side, spec in schema.sides.items():
        uses = side_uses(schema, side)
        files, name, columns = _look(path, spec.files, f"sides.{side}.files", schema, uses)
        logs[f"side:{side}"] = _log(f"side:{side}", path, files, name, columns, uses, {})
    impressions, logs = _with_same_keys(impressions, logs, schema)
    outcomes = logs.pop("outcomes", None)
    return LogSource(
        schema,
        impressions.chunks,
        outcomes.chunks if outcomes else None,
        {name.removeprefix("side:"): log.chunks for name, log in logs.items()},
        inferred,
        _description(impressions, outcomes, logs),
    )


def _look(
    folder: Path, glob: str, said: str, schema: Schema, uses: tuple[Use, ...]
) -> tuple[tuple[Path, ...], str, Columns]:
    files = find_files(folder, glob, said)
    name = format_of(files, schema.logs.format)
    return files, name, FORMATS[name].columns(files, {use.column for use in uses if use.is_list})


def _log(
    source: str,
    folder: Path,
    files: tuple[Path, ...],
    format: str,
    columns: Columns,
    uses: tuple[Use, ...],
    constants: Mapping[str, str],
) -> Log:
    check_present(uses, columns)
    types = {use.column: columns.types[use.column] for use in uses}
    for use in uses:
        target_type(use, types[use.column])
    return Log(source, folder, files, FORMATS[format], types, uses, constants)


def _with_same_keys(impressions: Log, logs: dict[str, Log], schema: Schema) -> tuple[Log, dict[str, Log]]:
    """Check that logs refer to each other by keys of one type.

    In CSV everything is text: a key that is an integer here and a string there is a string in both.
    """
    pairs: dict[str, dict[str, str]] = {"outcomes": {"request": "request", "candidate": "candidate"}}
    for side, spec in schema.sides.items():
        pairs[f"side:{side}"] = {"user" if spec.key == "user" else "candidate": "key"}
    for name in (*logs, *logs):  # twice: a key that a later log makes text is text in an earlier one
        for ours, its in pairs[name].items():
            left, right = key_type(impressions, ours), key_type(logs[name], its)
            if left and right and {left.element, right.element} == {"integer", "string"}:
                impressions, logs[name] = _as_text(impressions, ours), _as_text(logs[name], its)
    for name, log in logs.items():
        check_same_keys(impressions, log, pairs[name])
    return impressions, logs


def _as_text(log: Log, key: str) -> Log:
    if log.format is not FORMATS["csv"]:
        return log
    column = next(use.column for use in log.uses if use.name == key)
    text = ColumnType("string", seen=(("text", log.types[column].seen[0][1]),))
    return replace(log, types={**log.types, column: text})


def _description(impressions: Log, outcomes: Log | None, sides: Mapping[str, Log]) -> str:
    parts = [f"{len(impressions.files)} of impressions"]
    if outcomes is not None:
        parts.append(f"{len(outcomes.files)} of outcomes")
    parts += [f"{len(log.files)} of {name.replace(':', ' table ')}" for name, log in sides.items()]
    return f"files: {', '.join(parts)}"
