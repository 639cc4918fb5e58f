"""The slow, obvious twin of the whole fold: Python lists and dicts, one row at a time.

It says what a fold means: which rows are samples, which label they get, which samples share a unit, and which lists of
a unit are stored once.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recfold.fold.settings import FoldSettings
from recfold.spec import SAMPLE_GROUP, Schema

Row = dict[str, Any]


@dataclass(frozen=True)
class ReferenceUnit:
    """One row of a folded table.

    Attributes:
        split: train or validation.
        samples: canonical rows of its samples, in order.
        inverse: session or window group -> which of `runs` each sample uses.
        runs: session or window group -> feature column -> its stored lists, one per run.
    """

    split: str
    samples: list[Row]
    inverse: dict[str, list[int]]
    runs: dict[str, dict[str, list[Any]]]


@dataclass(frozen=True)
class ReferenceFold:
    """What a fold in one partition gives: units in stored order, rows in quarantine by (source, reason), joined."""

    units: list[ReferenceUnit]
    quarantined: Counter[tuple[str, str]] = field(default_factory=Counter)
    joined: int = 0


def fold_reference(
    impressions: Sequence[Row],
    outcomes: Sequence[Row] | None,
    sides: Mapping[str, Sequence[Row]],
    schema: Schema,
    settings: FoldSettings,
) -> ReferenceFold:
    """Fold canonical rows.

    Args:
        impressions: canonical rows in the order of the log. outcomes, sides: likewise.
        schema: every feature has a group (or 'sample'), every group a kind.
    """
    quarantined: Counter[tuple[str, str]] = Counter()
    rows: list[Row] = []
    widths: dict[str, int] = {}
    for row in impressions:
        fault = _fault(row, schema, widths)
        if fault is None:
            rows.append({**row, "row": len(rows)})
        else:
            quarantined["impressions", fault] += 1
    cut = _cut(sorted(row["time"] for row in rows), settings.split_time) if schema.keys.split is None else None
    samples = _without_duplicates(rows, quarantined)
    joined = _label(samples, outcomes, schema, settings, cut, quarantined)
    looked_up = {name: _side(name, side, schema, quarantined) for name, side in sides.items()}
    for row in samples:
        if schema.keys.split is None:
            row["split"] = "validation" if cut is not None and row["time"] >= cut else "train"
        for name, feature in schema.features.items():
            if feature.side is not None:
                key = row["user" if schema.sides[feature.side].key == "user" else "candidate"]
                known = looked_up[feature.side]
                found = known.get((key, row["split"]), known.get((key, None), {}))
                for column in _columns(schema, name):
                    row[column] = found.get(column)
    _sessionise(samples, settings)
    return ReferenceFold(_units(samples, schema, settings), quarantined, joined)


def bits(value: Any) -> Any:
    """Something hashable that is equal exactly where two values are, bit for bit.

    >>> bits([0.0]) == bits([-0.0]), bits(float("nan")) == bits(float("nan")), bits(None) == bits([])
    (False, True, False)
    """
    if isinstance(value, list):
        return ("list", *map(bits, value))
    return struct.pack("<d", value) if isinstance(value, float) else value


def _columns(schema: Schema, feature: str) -> list[str]:
    weighted = schema.features[feature].weights is not None
    return [f"feature.{feature}", *([f"feature.{feature}.weights"] if weighted else [])]


def _fault(row: Row, schema: Schema, widths: dict[str, int]) -> str | None:
    """Why an impression cannot be folded."""
    fault = None
    if row.get("session") is None and row.get("user") is None:
        fault = "null session and user"
    for key in ("time", "candidate", "request"):
        if key in row and row[key] is None:
            fault = f"null {key}"
    if "split" in row and row["split"] not in ("train", "validation"):
        fault = "unknown split"
    return _feature_fault(row, schema, None, widths) or fault


def _feature_fault(row: Row, schema: Schema, side: str | None, widths: dict[str, int]) -> str | None:
    fault = None
    for name, feature in schema.features.items():
        if feature.side != side:
            continue
        value = row[f"feature.{name}"]
        if (
            feature.kind == "vector"
            and value is not None
            and len(value) != (feature.width or widths.setdefault(name, len(value)))
        ):
            fault = f"vector {name!r} of another width"
        if feature.weights is not None and not _line_up(value, row[f"feature.{name}.weights"]):
            fault = f"weights of {name!r} do not line up"
    for group, spec in schema.groups.items():
        names = [name for name in schema.features_of(group) if schema.features[name].side == side]
        if spec.kind == "window" and names:
            first = row[f"feature.{names[0]}"]
            if not all(_line_up(first, row[f"feature.{name}"]) for name in names[1:]):
                fault = f"lists of window group {group!r} do not line up"
    return fault


def _line_up(a: list[Any] | None, b: list[Any] | None) -> bool:
    return a is b is None or (a is not None and b is not None and len(a) == len(b))


def _cut(times: list[int], split_time: str | float | None) -> int | None:
    fraction = float(split_time) if split_time is not None else 0.1
    last = int(len(times) * fraction)
    if last == 0:
        return None
    cut = times[-last]
    return next((time for time in times if time >= cut and time > times[0]), None)


def _position(row: Row) -> tuple[bool, int]:
    """Positions in order, unknown ones last."""
    position = row.get("position")
    return (position is None, position or 0)


def _without_duplicates(rows: list[Row], quarantined: Counter[tuple[str, str]]) -> list[Row]:
    samples, seen = [], set()
    for row in sorted(rows, key=lambda row: (row["time"], row["row"])):
        key = (row["request"], row.get("candidate"), row.get("position"))
        if key in seen:
            quarantined["impressions", "duplicate candidate row"] += 1
        else:
            seen.add(key)
            samples.append(row)
    return samples


def _label(
    samples: list[Row],
    outcomes: Sequence[Row] | None,
    schema: Schema,
    settings: FoldSettings,
    cut: int | None,
    quarantined: Counter[tuple[str, str]],
) -> int:
    """Give every sample its labels; the number of outcomes that joined."""
    events = {name: label for name, label in schema.labels.items() if label.event is not None}
    for row in samples:
        row.update({f"label.{name}": 0.0 for name in events})
    labelled: set[tuple[int, str]] = set()
    for outcome in sorted(outcomes or (), key=lambda o: (o.get("time") is None, o.get("time") or 0)):
        shown = [row for row in samples if row["request"] == outcome["request"]]
        if "candidate" in outcome and samples and "candidate" in samples[0]:
            shown = [row for row in shown if row["candidate"] == outcome["candidate"]]
        shown.sort(key=lambda row: (_position(row), row["time"], row["row"]))
        time = outcome.get("time")
        reason = None
        if outcome["event"] not in {label.event for label in events.values()}:
            reason = "unknown event"
        elif not shown:
            reason = "orphan"
        elif len({row.get("candidate") for row in shown}) > 1:
            reason = "ambiguous candidate"
        elif time is not None and time < shown[0]["time"]:
            reason = "early"
        elif time is not None and time - shown[0]["time"] > settings.window_hours * 3_600_000_000:
            reason = "late"
        elif cut is not None and time is not None and shown[0]["time"] < cut <= time:
            reason = "after split"
        elif (shown[0]["row"], outcome["event"]) in labelled:
            reason = "duplicate outcome"
        if reason is not None:
            quarantined["outcomes", reason] += 1
            continue
        labelled.add((shown[0]["row"], outcome["event"]))
        for name, label in events.items():
            if label.event == outcome["event"]:
                seen = label.use == "seen" or "value" not in outcome
                shown[0][f"label.{name}"] = 1.0 if seen else outcome["value"] or 0.0
    return len(labelled)


def _side(
    name: str, rows: Sequence[Row], schema: Schema, quarantined: Counter[tuple[str, str]]
) -> dict[tuple[Any, str | None], Row]:
    """(key, split or None) -> row; the first of several."""
    found: dict[tuple[Any, str | None], Row] = {}
    widths: dict[str, int] = {}
    for row in rows:
        fault = None
        if row["key"] is None:
            fault = "null key"
        if "split" in row and row["split"] not in ("train", "validation"):
            fault = "unknown split"
        fault = _feature_fault(row, schema, name, widths) or fault
        key = (row["key"], row.get("split"))
        if fault is None and key in found:
            fault = "duplicate side row"
        if fault is not None:
            quarantined[f"side:{name}", fault] += 1
        else:
            found[key] = row
    return found


def _sessionise(samples: list[Row], settings: FoldSettings) -> None:
    """`visit`: the given session, else the user and the number of the visit, counted by pauses."""
    last: dict[tuple[str, Any], tuple[int, int]] = {}
    for row in sorted(samples, key=lambda row: (row["time"], row["row"])):
        if row.get("session") is not None:
            row["visit"] = (row["session"], None, None)
            continue
        key = (row["split"], row["user"])
        time, number = last.get(key, (row["time"], 0))
        number += row["time"] - time > settings.session_gap_minutes * 60_000_000
        last[key] = (row["time"], number)
        row["visit"] = (None, row["user"], number)


def _units(samples: list[Row], schema: Schema, settings: FoldSettings) -> list[ReferenceUnit]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in samples:
        owner: tuple[Any, ...] = row["visit"]
        if settings.fold_by == "request":
            owner = (row["request"],)
        elif settings.fold_by == "user" and "user" in row:
            owner = (row["user"],) if row["user"] is not None else (None, *row["visit"])
        found.setdefault((row["split"], *owner), []).append(row)
    units = []
    for (split, *whose), rows in found.items():
        rows.sort(key=lambda row: (row["time"], row["request"], _position(row), row["row"]))
        keys = [(key is None, 0 if key is None else key) for key in whose]
        units.append(((split, rows[0]["time"], keys), _unit(rows, schema)))
    return [unit for _, unit in sorted(units, key=lambda pair: pair[0])]


def _unit(rows: list[Row], schema: Schema) -> ReferenceUnit:
    inverse: dict[str, list[int]] = {}
    runs: dict[str, dict[str, list[Any]]] = {}
    for group, spec in schema.groups.items():
        if group == SAMPLE_GROUP or spec.kind == "dictionary":
            continue
        columns = [column for name in schema.features_of(group) for column in _columns(schema, name)]
        inverse[group], runs[group] = [], {column: [] for column in columns}
        before = None
        for row in rows:
            content = [bits(row[column]) for column in columns]
            if content != before:
                for column in columns:
                    runs[group][column].append(row[column])
            before = content
            inverse[group].append(len(runs[group][columns[0]]) - 1)
    samples = [{key: value for key, value in row.items() if key not in ("row", "visit")} for row in rows]
    return ReferenceUnit(rows[0]["split"], samples, inverse, runs)
