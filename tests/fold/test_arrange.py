"""Sessions, units and the order of samples."""

from typing import Any, Literal

import pyarrow as pa
import pytest

from recfold.fold.arrange import MINUTE_US, UnitRule, arrange

INT = pa.int64()


def arranged(rows: list[dict[str, Any]], by: Literal["session", "request", "user"] = "session") -> pa.Table:
    """Rows with defaults: request = row number, one split; times in minutes."""
    full = [{"request": i, "split": 0, "row": i, **row, "time": row["time"] * MINUTE_US} for i, row in enumerate(rows)]
    types = {name: pa.string() if isinstance(full[0][name], str) else INT for name in full[0]}
    table = pa.table({name: pa.array([row[name] for row in full], types[name]) for name in full[0]})
    return arrange(table, UnitRule(by, 30 * MINUTE_US))


def units(table: pa.Table) -> list[list[int]]:
    """Row numbers of each unit."""
    found: list[list[int]] = []
    for row, unit in zip(table["row"].to_pylist(), table["unit"].to_pylist(), strict=True):
        found += [[]] if unit == len(found) else []
        found[unit].append(row)
    return found


def test_a_pause_longer_than_the_gap_ends_a_session() -> None:
    table = arranged([{"user": 1, "time": time} for time in (0, 30, 61, 62)])
    assert units(table) == [[0, 1], [2, 3]]
    sessions = table["session"].to_pylist()
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]
    assert "session.made" not in table.column_names


def test_users_do_not_share_a_session() -> None:
    assert units(arranged([{"user": user, "time": 0} for user in (2, 1, 2)])) == [[1], [0, 2]]


def test_a_given_session_has_no_gap_and_may_have_several_users() -> None:
    table = arranged([{"session": 5, "user": user, "time": time} for user, time in ((1, 0), (None, 500), (2, 90))])
    assert units(table) == [[0, 2, 1]]


def test_only_sessions_that_are_missing_are_made_up() -> None:
    table = arranged([{"session": s, "user": 1, "time": 0} for s in (5, None, None)])
    assert table["session.made"].to_pylist() == [False, True, True]
    assert table["session"].to_pylist()[0] == 5
    assert units(table) == [[0], [1, 2]]


def test_made_up_sessions_are_text_where_sessions_are_text() -> None:
    table = arranged([{"session": s, "user": 1, "time": 0} for s in ("a", None)])
    assert table["session"].type == pa.string()
    assert table["session"].to_pylist()[1].isdigit()


def test_sessions_are_in_order_of_their_first_sample_and_samples_by_time_request_and_position() -> None:
    rows = [
        {"session": 1, "time": 9, "request": 4, "position": 1},
        {"session": 2, "time": 3, "request": 3, "position": 0},
        {"session": 1, "time": 9, "request": 4, "position": 0},
        {"session": 1, "time": 5, "request": 9, "position": None},
        {"session": 1, "time": 9, "request": 2, "position": 7},
        {"session": 1, "time": 9, "request": 4, "position": None},
    ]
    assert units(arranged(rows)) == [[1], [3, 4, 2, 0, 5]]


def test_a_session_across_the_split_becomes_two() -> None:
    rows = [{"session": 1, "time": 0, "split": 1}, {"session": 1, "time": 5, "split": 0}]
    assert units(arranged(rows)) == [[1], [0]]


@pytest.mark.parametrize(("by", "expected"), [("request", [[0], [1, 2], [3]]), ("user", [[0, 1], [2], [3]])])
def test_units_other_than_sessions(by: Literal["request", "user"], expected: list[list[int]]) -> None:
    rows = [
        {"session": 1, "user": 1, "request": 1, "time": 0},
        {"session": 2, "user": 1, "request": 2, "time": 1},
        {"session": 2, "user": None, "request": 2, "time": 1},
        {"session": 3, "user": None, "request": 3, "time": 2},
    ]
    assert units(arranged(rows, by)) == expected
