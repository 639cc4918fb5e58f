"""Which outcomes join, and why the others do not."""

from typing import Any

import polars as pl
import pytest

from recfold.fold.join import HOUR_US, JoinRule, join

RULE = JoinRule({"click": ("click", "seen"), "paid": ("buy", "value")}, window_us=HOUR_US, cut=None)
IMPRESSION = {"request": 1, "candidate": 7, "position": 0, "time": 1000, "row": 0}
OUTCOME = {"request": 1, "candidate": 7, "event": "click", "value": None, "time": 1500, "outcome": 0}
TYPES = {"value": pl.Float64, "time": pl.Int64, "position": pl.Int64}


def frame(base: dict[str, Any], number: str, *changes: dict[str, Any], without: tuple[str, ...] = ()) -> pl.DataFrame:
    rows = [{**base, number: index, **change} for index, change in enumerate(changes)]
    return pl.DataFrame([{k: v for k, v in row.items() if k not in without} for row in rows], schema_overrides=TYPES)


def shown(*changes: dict[str, Any], without: tuple[str, ...] = ()) -> pl.DataFrame:
    return frame(IMPRESSION, "row", *changes, without=without)


def happened(*changes: dict[str, Any], without: tuple[str, ...] = ()) -> pl.DataFrame:
    return frame(OUTCOME, "outcome", *changes, without=without)


def reasons(impressions: pl.DataFrame, outcomes: pl.DataFrame, rule: JoinRule = RULE) -> list[str]:
    return join(impressions, outcomes, rule).rejected["reason"].to_list()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event": "scroll"}, "unknown event"),
        ({"event": None}, "unknown event"),
        ({"request": 2}, "orphan"),
        ({"candidate": 8}, "orphan"),
        ({"time": 999}, "early"),
        ({"time": 1001 + HOUR_US}, "late"),
    ],
)
def test_an_outcome_that_does_not_fit_is_rejected_with_its_reason(change: dict[str, Any], reason: str) -> None:
    found = join(shown({}), happened(change), RULE)
    assert found.rejected["reason"].to_list() == [reason]
    assert found.joined == 0
    assert found.impressions["label.click"].to_list() == [0.0]


@pytest.mark.parametrize("time", [1000, 1000 + HOUR_US, None])
def test_the_ends_of_the_window_and_outcomes_without_time_join(time: int | None) -> None:
    found = join(shown({}), happened({"time": time}), RULE)
    assert (found.joined, found.impressions["label.click"].to_list()) == (1, [1.0])


def test_the_earliest_of_equal_outcomes_joins() -> None:
    outcomes = happened({"event": "buy", "value": 5.0, "time": 1700}, {"event": "buy", "value": 3.0}, {})
    found = join(shown({}), outcomes, RULE)
    assert found.impressions.select("label.click", "label.paid").row(0) == (1.0, 3.0)
    assert found.rejected.select("outcome", "reason").rows() == [(0, "duplicate outcome")]


def test_a_late_outcome_does_not_make_the_next_a_duplicate() -> None:
    assert reasons(shown({}), happened({"time": 900}, {"time": 1500})) == ["early"]


def test_the_first_position_is_labelled() -> None:
    impressions = shown({"position": None, "time": 900}, {"position": 3}, {"position": 1, "time": 1200})
    found = join(impressions, happened({}), RULE).impressions.sort("row")
    assert found["label.click"].to_list() == [0.0, 0.0, 1.0]


def test_a_second_row_of_a_candidate_is_a_duplicate_and_gets_no_label() -> None:
    found = join(shown({"time": 1100}, {}), happened({}), RULE).impressions.sort("row")
    assert found["reason"].to_list() == ["duplicate candidate row", None]
    assert found["label.click"].to_list() == [0.0, 1.0]


def test_unknown_positions_are_one_position() -> None:
    found = join(shown({"position": None}, {"position": None}, {}), None, RULE).impressions
    assert found["reason"].null_count() == 2


def test_without_candidates_a_request_is_one_sample() -> None:
    without = ("candidate", "position")
    found = join(shown({}, {}, {"request": 2}, without=without), happened({}, {"candidate": 9}), RULE)
    assert found.impressions["reason"].to_list() == [None, "duplicate candidate row", None]
    assert found.rejected["reason"].to_list() == ["duplicate outcome"]


def test_an_outcome_without_candidate_joins_the_only_one() -> None:
    impressions = shown({}, {"request": 2}, {"request": 2, "candidate": 8})
    outcomes = happened({}, {"request": 2}, without=("candidate",))
    assert reasons(impressions, outcomes) == ["ambiguous candidate"]


def test_an_outcome_after_the_cut_labels_no_training_sample() -> None:
    rule = JoinRule(RULE.labels, RULE.window_us, cut=1400)
    assert reasons(shown({}), happened({"time": 1400}, {"time": 1399}), rule) == ["after split"]
    assert reasons(shown({"time": 1400}), happened({"time": 1500}), rule) == []


def test_a_value_that_is_missing_counts_as_zero() -> None:
    found = join(shown({}), happened({"event": "buy"}), RULE)
    assert found.impressions["label.paid"].to_list() == [0.0]


def test_outcomes_without_times_and_values_join() -> None:
    found = join(shown({}), happened({"event": "buy"}, without=("time", "value")), RULE)
    assert found.impressions["label.paid"].to_list() == [1.0]
