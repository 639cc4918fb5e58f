"""Where validation starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recfold.fold.cut as cut
from recfold.fold import FoldSettings, fold
from recfold.spec import InputError

SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "user": "u", "time": "t"},
    "labels": {"y": {"column": "y"}},
    "infer": False,
}


@given(
    parts=st.lists(st.lists(st.integers(0, 2**62) | st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=4),
    data=st.data(),
)
def test_ranked_is_what_sorting_gives(parts: list[list[int]], data: st.DataObject) -> None:
    times = [np.array(part, np.int64) for part in parts]
    rank = data.draw(st.integers(0, sum(map(len, parts)) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "_FEW", 2)
        patch.setattr(cut, "_BINS", 4)
        assert cut.ranked(lambda: iter(times), rank) == np.sort(np.concatenate(times))[rank]


@pytest.mark.parametrize(
    "times, split_time, validation",
    [
        (range(20), None, [18, 19]),
        (range(20), 0.25, [15, 16, 17, 18, 19]),
        (range(20), "0.25", [15, 16, 17, 18, 19]),
        (range(20), 0, []),
        ([0, 1, 1, 1, 1], 0.3, [1, 1, 1, 1]),  # one time is never parted
        ([1, 1, 1, 2], 0.5, [2]),  # and never everything
        ([1, 1, 1], 0.5, []),
        ([0, 999_999, 1_000_000], "1970-01-01T00:00:01", [1_000_000]),
        ([0, 999_999, 1_000_000], "1970-01-01T01:00:01+01:00", [1_000_000]),
        ([0, 1, 2], "2020-01-01", []),
        ([0, 1, 2], "1969-01-01", [0, 1, 2]),
    ],
)
def test_validation_is_what_comes_last(
    logs_of: Any, tmp_path: Path, times: Any, split_time: Any, validation: list[int]
) -> None:
    rows = [{"request": i, "user": 1, "time": time, "label.y": 0.0} for i, time in enumerate(times)]
    settings = FoldSettings(split_time=split_time)
    table = fold(logs_of(SCHEMA, rows).source(), tmp_path / "table", settings=settings)
    found = (
        []
        if "validation" not in table.splits()
        else [time for rows in table.expand("validation") for time in rows["time"].to_pylist()]
    )
    assert found == validation
    assert sum(table.manifest.accounting.samples.values()) == len(rows)


def test_a_session_across_the_cut_becomes_two(logs_of: Any, tmp_path: Path) -> None:
    schema = {**SCHEMA, "keys": {"request": "r", "session": "s", "time": "t"}}
    rows = [{"request": i, "session": 7, "time": i, "label.y": 0.0} for i in range(4)]
    table = fold(logs_of(schema, rows).source(), tmp_path / "table", settings=FoldSettings(split_time=0.5))
    units = {split: table.parts(split)[0].row_group(0, ["session", "n"]).to_pylist() for split in table.splits()}
    assert units == {"train": [{"session": 7, "n": 2}], "validation": [{"session": 7, "n": 2}]}


def test_a_split_column_and_a_split_time_exclude_each_other(logs_of: Any, tmp_path: Path) -> None:
    schema = {**SCHEMA, "keys": {**SCHEMA["keys"], "split": "x"}}
    rows = [{"request": 1, "user": 1, "time": 0, "split": "train", "label.y": 0.0}]
    with pytest.raises(InputError, match="the logs say the split themselves; got column 'x'; leave out one of them"):
        fold(logs_of(schema, rows).source(), tmp_path / "table", settings=FoldSettings(split_time=0.1))
