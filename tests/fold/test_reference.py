"""The whole fold against its slow twin, on random small logs with every kind of feature and group."""

import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recfold.fold import FoldSettings, fold
from recfold.fold.reference import ReferenceFold, bits, fold_reference
from recfold.table import FoldedTable

Row = dict[str, Any]
HOUR = 3_600_000_000
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = {"request": "r", "candidate": "c", "position": "p", "session": "s", "user": "u", "time": "t"}
FEATURES: dict[str, Any] = {
    "page": {"kind": "id", "group": "context"},
    "tags": {"kind": "ids", "group": "context", "weights": "tag_weights"},
    "age": {"kind": "dense", "group": "context"},
    "seen": {"kind": "sequence", "group": "history"},
    "dwell": {"kind": "dense_sequence", "group": "history"},
    "topics": {"kind": "ids", "group": "item"},
    "content": {"kind": "vector", "width": 2, "group": "item"},
    "segment": {"kind": "id", "group": "profile"},
    "price": {"kind": "dense", "group": "sample"},
    "words": {"kind": "ids", "group": "sample"},
    "home": {"kind": "id", "side": "users", "group": "users"},
    "past": {"kind": "sequence", "side": "users", "group": "users"},
}
GROUPS = {
    "context": {"kind": "session"},
    "history": {"kind": "window"},
    "item": {"kind": "dictionary", "key": "item"},
    "profile": {"kind": "dictionary", "key": "user"},
    "users": {"kind": "dictionary", "key": "user"},
}
SCHEMA: dict[str, Any] = {
    "keys": KEYS,
    "outcomes": {"request": "r", "candidate": "c", "event": "e", "value": "v", "time": "t"},
    "labels": {"click": {"event": "click"}, "paid": {"event": "buy", "use": "value"}},
    "features": FEATURES,
    "groups": GROUPS,
    "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
    "infer": False,
}

FLOATS = st.sampled_from([0.0, -0.0, 1.5, float("nan"), math.inf])
IDS = st.sampled_from([1, 2, 3, -7, 2**40, None])


def lists(elements: st.SearchStrategy[Any], **bounds: int) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(elements, **bounds)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Any, Any]:
    """A window of a short stream, from either end, with its aligned values; sometimes null or anything."""
    if draw(st.integers(0, 9)) == 0:
        return None, None
    begin, size = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    ids = [None if i == 3 else i % 3 for i in range(begin, begin + size)]
    ids = ids[::-1] if draw(st.booleans()) else ids
    return ids, [float(i or 0) for i in ids]


@st.composite
def impressions(draw: st.DrawFn, split_column: bool) -> Row:
    user = draw(st.sampled_from([1, 2, 3, None]))
    session = draw(st.sampled_from([10, 11, None])) if user is not None else draw(st.sampled_from([10, 11]))
    tags = draw(lists(IDS, max_size=2))
    seen, dwell = draw(histories())
    row = {
        "request": draw(st.integers(0, 5)),
        "candidate": draw(st.integers(0, 2)),
        "position": draw(st.sampled_from([0, 1, None])),
        "session": session,
        "user": user,
        "time": draw(st.integers(0, 8)) * HOUR // 4,
        "weight": draw(st.sampled_from([1.0, 2.0])),
        "feature.page": draw(IDS),
        "feature.tags": tags,
        "feature.tags.weights": None if tags is None else [draw(FLOATS) for _ in tags],
        "feature.age": draw(st.sampled_from([1.0, float("nan"), None])),
        "feature.seen": seen,
        "feature.dwell": dwell,
        "feature.topics": draw(lists(IDS, max_size=2)),
        "feature.content": draw(st.sampled_from([None, [1.0, 2.0], [0.0, -0.0]])),
        "feature.segment": draw(IDS),
        "feature.price": draw(FLOATS | st.none()),
        "feature.words": draw(lists(IDS, max_size=2)),
    }
    if split_column:
        row["split"] = draw(st.sampled_from(["train", "validation"]))
    return row


@st.composite
def outcomes(draw: st.DrawFn) -> Row:
    return {
        "request": draw(st.integers(0, 6)),
        "candidate": draw(st.integers(0, 2)),
        "event": draw(st.sampled_from(["click", "click", "buy", "scroll"])),
        "value": draw(st.sampled_from([None, 2.5])),
        "time": draw(st.none() | st.integers(0, 40).map(lambda quarters: quarters * HOUR // 4)),
    }


@st.composite
def side_rows(draw: st.DrawFn, split_column: bool) -> Row:
    row = {
        "key": draw(st.sampled_from([1, 2])),
        "feature.home": draw(IDS),
        "feature.past": draw(lists(IDS, max_size=3)),
    }
    if split_column:
        row["split"] = draw(st.sampled_from(["train", "validation"]))
    return row


@st.composite
def any_logs(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of small Logs with every kind of feature and group, ties in time, missing users, duplicates.

    Some logs have no session, user, position or candidate column, ids are numbers or text, and the side table is looked
    up by user or item.
    """
    split_column, side_split = draw(st.booleans()), draw(st.booleans())
    absent = draw(st.sampled_from(["", "", "session", "user", "position", "candidate", "candidate position"])).split()
    side_key = draw(st.sampled_from([key for key in ("user", "candidate") if key not in absent]))
    text = {name: pa.string() for name in draw(st.sets(st.sampled_from(["request", "candidate", "session", "user"])))}
    if side_key in text:
        text["key"] = pa.string()
    keys = {**KEYS, "weight": "w", **({"split": "x"} if split_column else {})}
    kind = {"user": "user", "candidate": "item"}[side_key]
    side = {"files": "users*", "key": kind, "column": "u", **({"split": "x"} if side_split else {})}
    shown = draw(st.lists(impressions(split_column), min_size=1, max_size=12))
    shown[0]["session"], shown[0]["user"] = 10, 1  # not all rows are unusable
    happened = draw(st.lists(outcomes(), max_size=8))
    if draw(st.integers(0, 4)) == 0:
        happened = [{name: value for name, value in row.items() if name != "candidate"} for row in happened]
    users = draw(st.lists(side_rows(side_split), max_size=4))
    return {
        "schema": {
            **SCHEMA,
            "keys": {name: column for name, column in keys.items() if name not in absent},
            "sides": {"users": side},
            "groups": {**GROUPS, "users": {"kind": "dictionary", "key": kind}},
        },
        "impressions": [reshaped(row, absent, text) for row in shown],
        "outcomes": [reshaped(row, [], text) for row in happened],
        "sides": {"users": [reshaped(row, [], text) for row in users]},
        "types": text,
        "chunks": draw(st.integers(1, 3)),
    }


def reshaped(row: Row, absent: list[str], text: dict[str, pa.DataType]) -> Row:
    """A row without some keys, and with others as text."""
    kept = {name: value for name, value in row.items() if name not in absent}
    return {name: f"k{v}" if name in text and v is not None else v for name, v in kept.items()}


def content(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple((name, bits(row[name])) for name in sorted(row))


def both(logs: Any, how: FoldSettings, folder: Path) -> tuple[FoldedTable, ReferenceFold]:
    table = fold(logs.source(), folder / "table", settings=how)
    return table, fold_reference(logs.impressions, logs.outcomes, logs.sides, table.schema, how)


def stored_units(table: FoldedTable) -> list[tuple[str, dict[str, Any]]]:
    return [
        (split, unit)
        for split in table.splits()
        for part in table.parts(split)
        for index in range(part.num_row_groups)
        for unit in part.row_group(index).to_pylist()
    ]


def check_runs(table: FoldedTable, reference: ReferenceFold) -> None:
    """Units, inverses, runs and windows are those of the slow twin, in its order."""
    units = stored_units(table)
    assert [split for split, _ in units] == [unit.split for unit in reference.units]
    for (_, stored), unit in zip(units, reference.units, strict=True):
        assert stored["sample.request"] == [row["request"] for row in unit.samples]
        for group, inverse in unit.inverse.items():
            assert stored[f"{group}.inverse"] == inverse
            for column, runs in unit.runs[group].items():
                found = stored[column]
                if table.schema.groups[group].kind == "window":
                    spans = zip(stored[f"{group}.start"], stored[f"{group}.length"], strict=True)
                    found = [None if size < 0 else stored[column][start : start + size] for start, size in spans]
                assert bits(found) == bits(runs)


@SLOW
@given(drawn=any_logs(), by=st.sampled_from(["session", "request", "user"]), fraction=st.sampled_from([0.0, 0.1, 0.5]))
def test_fold_equals_its_slow_twin(logs_of: Any, drawn: dict[str, Any], by: str, fraction: float) -> None:
    logs = logs_of(**drawn)
    split_time = None if "split" in logs.schema["keys"] else fraction
    if by == "user" and "user" not in logs.schema["keys"]:
        by = "session"
    how = FoldSettings(fold_by=by, split_time=split_time, window_hours=2, partitions=1)
    with tempfile.TemporaryDirectory() as folder:
        table, reference = both(logs, how, Path(folder))
        check_runs(table, reference)
        expanded = [row for rows in table.expand() for row in rows.to_pylist()]
        expected = [row for unit in reference.units for row in unit.samples]
        assert [content(row) for row in expanded] == [content(row) for row in expected]
        check_accounting(table, reference, logs)
        table.verify()


@SLOW
@given(drawn=any_logs(), partitions=st.integers(2, 5), memory_gb=st.sampled_from([4.0, 1e-6]))
def test_partitions_and_memory_change_no_row(
    logs_of: Any, drawn: dict[str, Any], partitions: int, memory_gb: float
) -> None:
    logs = logs_of(**drawn)
    with tempfile.TemporaryDirectory() as folder:
        table, reference = both(logs, FoldSettings(partitions=partitions, memory_gb=memory_gb), Path(folder))
        expanded = Counter(content(row) for rows in table.expand() for row in rows.to_pylist())
        assert expanded == Counter(content(row) for unit in reference.units for row in unit.samples)
        check_accounting(table, reference, logs)


def check_accounting(table: FoldedTable, reference: ReferenceFold, logs: Any) -> None:
    accounting = table.manifest.accounting
    assert accounting.candidate_rows_in == len(logs.impressions)
    assert accounting.outcomes_in == len(logs.outcomes or ())
    assert accounting.joined == reference.joined
    found = {
        **{("impressions", reason): count for reason, count in accounting.quarantined_candidates.items()},
        **{("outcomes", reason): count for reason, count in accounting.quarantined_outcomes.items()},
        **{("side:users", reason.split(": ")[-1]): n for reason, n in accounting.quarantined_sides.items()},
    }
    assert found == dict(reference.quarantined)
    assert accounting.samples == Counter(unit.split for unit in reference.units for _ in unit.samples)


@pytest.mark.parametrize("by", ["session", "request", "user"])
def test_expanded_rows_equal_their_slow_twin(logs_of: Any, tmp_path: Path, by: str) -> None:
    from recfold.table.expand import expand_rows, expand_rows_reference

    rows = [
        {"request": i, "session": i % 3, "user": 1, "time": i, "feature.seen": list(range(i, i + 3)), "label.y": 1.0}
        for i in range(9)
    ]
    schema = {
        "keys": {"request": "r", "session": "s", "user": "u", "time": "t"},
        "labels": {"y": {"column": "y"}},
        "features": {"seen": {"kind": "sequence", "group": "history"}},
        "groups": {"history": {"kind": "window"}},
    }
    table = fold(logs_of(schema, rows).source(), tmp_path / "table", settings=FoldSettings(fold_by=by))
    for split in table.splits():
        for part in table.parts(split):
            raw = part.row_group(0)
            fast = expand_rows(raw, table.manifest, {}, split).to_pylist()
            assert fast == expand_rows_reference(raw, table.manifest, {}, split)
