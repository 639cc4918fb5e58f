"""Every row that is not a sample, and every outcome that labels none, is counted with its reason and kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.fold import FoldSettings, fold
from recfold.logs import REJECTED, Chunk, LogSource
from recfold.table import FoldedTable

HOUR = 3_600_000_000
SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "candidate": "c", "position": "p", "session": "s", "user": "u", "time": "t"},
    "outcomes": {"request": "r", "candidate": "c", "event": "e", "value": "v", "time": "t"},
    "labels": {"click": {"event": "click"}, "paid": {"event": "buy", "use": "value"}},
    "features": {
        "tags": {"kind": "ids", "weights": "w", "group": "sample"},
        "content": {"kind": "vector", "width": 2, "group": "sample"},
        "seen": {"kind": "sequence", "group": "history"},
        "dwell": {"kind": "dense_sequence", "group": "history"},
        "home": {"kind": "id", "side": "users"},
    },
    "groups": {"history": {"kind": "window"}},
    "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
}
GOOD: dict[str, Any] = {
    "request": 1,
    "candidate": 5,
    "position": 0,
    "session": 1,
    "user": 1,
    "time": 100 * HOUR,
    "feature.tags": [1, 2],
    "feature.tags.weights": [0.5, 1.0],
    "feature.content": [1.0, 2.0],
    "feature.seen": [1],
    "feature.dwell": [2.0],
}
CLICK: dict[str, Any] = {"request": 1, "candidate": 5, "event": "click", "value": None, "time": 101 * HOUR}
SIDE: dict[str, Any] = {"key": 1, "feature.home": 7}


def folded(logs_of: Any, out: Path, how: FoldSettings | None = None, **logs: Any) -> FoldedTable:
    given = {"impressions": [GOOD], "outcomes": [CLICK], "sides": {"users": [SIDE]}, "schema": SCHEMA, **logs}
    return fold(logs_of(**given).source(), out / "table", settings=how or FoldSettings(split_time=0))


def kept(table: FoldedTable) -> list[dict[str, Any]]:
    """The rows in quarantine."""
    return [row for entry in table.manifest.quarantine for row in pq.read_table(table.path / entry.path).to_pylist()]


def samples(table: FoldedTable) -> list[dict[str, Any]]:
    return [row for rows in table.expand() for row in rows.to_pylist()]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"request": None}, "null request"),
        ({"candidate": None}, "null candidate"),
        ({"time": None}, "null time"),
        ({"session": None, "user": None}, "null session and user"),
        ({"time": 101 * HOUR}, "duplicate candidate row"),
        ({"request": 2, "feature.tags.weights": [0.5]}, "weights of 'tags' do not line up"),
        ({"request": 2, "feature.tags": None}, "weights of 'tags' do not line up"),
        ({"request": 2, "feature.content": [1.0]}, "vector 'content' of another width"),
        ({"request": 2, "feature.dwell": []}, "lists of window group 'history' do not line up"),
    ],
)
def test_an_impression_that_cannot_be_folded_is_kept_with_its_reason(
    logs_of: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    table = folded(logs_of, tmp_path, impressions=[GOOD, {**GOOD, **change}])
    accounting = table.manifest.accounting
    assert (accounting.candidate_rows_in, accounting.samples) == (2, {"train": 1})
    assert accounting.quarantined_candidates == {reason: 1}
    (row,) = kept(table)
    assert (row["source"], row["reason"]) == ("impressions", reason)
    content = json.loads(row["content"])
    assert {name: content[name] for name in change} == change
    assert [sample["time"] for sample in samples(table)] == [GOOD["time"]]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"request": 9}, "orphan"),
        ({"candidate": 9}, "orphan"),
        ({"event": "scroll"}, "unknown event"),
        ({"event": None}, "unknown event"),
        ({"time": 100 * HOUR - 1}, "early"),
        ({"time": 124 * HOUR + 1}, "late"),
        ({"time": 102 * HOUR}, "duplicate outcome"),
        ({"value": 2.0}, "duplicate outcome"),
    ],
)
def test_an_outcome_that_labels_nothing_is_kept_with_its_reason(
    logs_of: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    table = folded(logs_of, tmp_path, outcomes=[CLICK, {**CLICK, **change}])
    accounting = table.manifest.accounting
    assert (accounting.outcomes_in, accounting.joined) == (2, 1)
    assert accounting.quarantined_outcomes == {reason: 1}
    (row,) = kept(table)
    assert (row["source"], row["reason"]) == ("outcomes", reason)
    assert json.loads(row["content"]) == {**CLICK, **change}
    assert [sample["label.click"] for sample in samples(table)] == [1.0]


@pytest.mark.parametrize("time", [100 * HOUR, 124 * HOUR, None])
def test_the_window_holds_both_its_ends_and_outcomes_without_time(logs_of: Any, tmp_path: Path, time: Any) -> None:
    table = folded(logs_of, tmp_path, outcomes=[{**CLICK, "time": time}])
    assert table.manifest.accounting.joined == 1


def test_an_outcome_after_the_cut_labels_no_training_sample(logs_of: Any, tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "request": 2, "time": 101 * HOUR}]
    clicks = [CLICK, {**CLICK, "request": 2}, {**CLICK, "event": "buy", "value": 3.0, "time": 101 * HOUR - 1}]
    table = folded(logs_of, tmp_path, FoldSettings(split_time=0.5), impressions=rows, outcomes=clicks)
    assert table.manifest.accounting.quarantined_outcomes == {"after split": 1}
    labels = [(sample["split"], sample["label.click"], sample["label.paid"]) for sample in samples(table)]
    assert labels == [("train", 0.0, 3.0), ("validation", 1.0, 0.0)]


def test_an_outcome_of_a_candidate_shown_twice_labels_the_first_position(logs_of: Any, tmp_path: Path) -> None:
    rows = [{**GOOD, "position": position} for position in (7, 2, None)]
    table = folded(logs_of, tmp_path, impressions=rows)
    assert {sample["position"]: sample["label.click"] for sample in samples(table)} == {2: 1.0, 7: 0.0, None: 0.0}


def test_without_candidates_an_outcome_joins_the_only_one_of_its_request(logs_of: Any, tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "request": 2}, {**GOOD, "request": 2, "candidate": 6}]
    clicks = [{name: value for name, value in {**CLICK, "request": n}.items() if name != "candidate"} for n in (1, 2)]
    table = folded(logs_of, tmp_path, impressions=rows, outcomes=clicks)
    assert table.manifest.accounting.joined == 1
    assert table.manifest.accounting.quarantined_outcomes == {"ambiguous candidate": 1}


def test_a_label_takes_the_value_of_its_outcome(logs_of: Any, tmp_path: Path) -> None:
    rows = [{**GOOD, "request": n} for n in (1, 2, 3)]
    bought = [{**CLICK, "request": 1, "event": "buy", "value": 9.5}, {**CLICK, "request": 2, "event": "buy"}]
    table = folded(logs_of, tmp_path, impressions=rows, outcomes=bought)
    assert [sample["label.paid"] for sample in samples(table)] == [9.5, 0.0, 0.0]


@pytest.mark.parametrize("change, reason", [({}, "duplicate side row"), ({"key": None}, "null key")])
def test_a_side_row_that_serves_nothing_is_kept_with_its_reason(
    logs_of: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    table = folded(logs_of, tmp_path, sides={"users": [SIDE, {**SIDE, "feature.home": 8, **change}]})
    assert table.manifest.accounting.quarantined_sides == {reason: 1}
    assert [row["source"] for row in kept(table)] == ["side:users"]
    assert [sample["feature.home"] for sample in samples(table)] == [7]


def test_an_unknown_split_is_kept_with_its_reason(logs_of: Any, tmp_path: Path) -> None:
    schema = {**SCHEMA, "keys": {**SCHEMA["keys"], "split": "x"}}
    rows = [{**GOOD, "split": "train"}, {**GOOD, "request": 2, "split": "test"}, {**GOOD, "request": 3, "split": None}]
    table = folded(logs_of, tmp_path, FoldSettings(), schema=schema, impressions=rows)
    assert table.manifest.accounting.quarantined_candidates == {"unknown split": 2}


def test_rows_that_the_logs_rejected_are_counted_in_their_equation(logs_of: Any, tmp_path: Path) -> None:
    source: LogSource = logs_of(SCHEMA, [GOOD], [CLICK], {"users": [SIDE]}).source()

    def with_rejected(read: Any, sources: list[str]) -> Any:
        bad = pa.Table.from_pylist(
            [
                {"source": name, "file": "a.csv", "row": 3, "reason": "unparsable row", "content": "{"}
                for name in sources
            ],
            REJECTED,
        )

        def chunks() -> Iterator[Chunk]:
            for chunk in read():
                yield Chunk(chunk.rows, bad)

        return chunks

    assert source.outcomes is not None
    more = LogSource(
        source.schema,
        with_rejected(source.impressions, ["impressions", "outcomes"]),
        with_rejected(source.outcomes, ["outcomes"]),
        {"users": with_rejected(source.sides["users"], ["side:users"])},
        (),
        "",
    )
    accounting = fold(more, tmp_path / "table", settings=FoldSettings(split_time=0)).manifest.accounting
    assert (accounting.candidate_rows_in, accounting.quarantined_candidates) == (2, {"unparsable row": 1})
    assert (accounting.outcomes_in, accounting.quarantined_outcomes) == (3, {"unparsable row": 2})
    assert accounting.quarantined_sides == {"unparsable row": 1}


def test_not_a_number_and_infinity_in_quarantine_do_not_stop_the_fold(logs_of: Any, tmp_path: Path) -> None:
    bad = {**GOOD, "request": None, "feature.content": [float("nan"), float("inf")]}
    table = folded(logs_of, tmp_path, impressions=[GOOD, bad])
    assert table.manifest.accounting.quarantined_candidates == {"null request": 1}
