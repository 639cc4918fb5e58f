"""Plans of tables of which only the sizes are known, and plans as files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.plan import TableSize, load_plan, save_plan, search_plan, shares
from recfold.plan.files import write_whole
from recfold.spec import InputError, Plan

SIZES = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(TableSize, rows=st.integers(1, 500), dim=st.integers(1, 8), row_bytes=st.integers(8, 64)),
    min_size=1,
)


@given(tables=SIZES, ranks=st.integers(1, 5))
def test_a_plan_by_sizes_is_even_up_to_a_table(tables: dict[str, TableSize], ranks: int) -> None:
    plan = search_plan(tables, ranks)
    plan.check_tables({name: (size.rows, size.dim) for name, size in tables.items()}, ranks)
    total = sum(size.num_bytes for size in tables.values())
    held = [share.num_bytes for share in shares(plan, tables)]
    assert total <= sum(held) <= total + 8 * ranks * len(tables)
    # no piece is larger than an even share but for what cannot be cut finer: a row of each
    rounding = sum(size.row_bytes + ranks for size in tables.values())
    assert max(held) <= 2 * total / ranks + rounding


def test_a_table_larger_than_an_even_share_is_cut_by_rows() -> None:
    plan = search_plan({"big": TableSize(100, 4, 20), "a": TableSize(10, 4, 20), "b": TableSize(10, 4, 20)}, 2)
    assert {name: placed.kind for name, placed in plan.tables.items()} == {
        "big": "row_wise",
        "a": "table_wise",
        "b": "table_wise",
    }
    assert plan.rank_bytes({"big": 20, "a": 20, "b": 20}) == (1200, 1200)


def test_no_tables_are_a_plan() -> None:
    assert search_plan({}, 2, memory_bytes=1).tables == {}


def test_a_wrong_search_answers_with_the_right_ones() -> None:
    with pytest.raises(InputError, match=r"unknown search 'bets'; expected one of .*size.*; did you mean 'best'"):
        search_plan({"a": TableSize(1, 1, 4)}, 1, search="bets")


def test_a_plan_survives_its_file(tmp_path) -> None:
    plan = search_plan({"a": TableSize(10, 4, 20)}, 2)
    save_plan(plan, tmp_path / "deep" / "plan.json")
    assert load_plan(tmp_path / "deep" / "plan.json") == plan
    assert isinstance(plan, Plan)
    with pytest.raises(InputError, match=r"cannot read plan .*write it with `recfold plan`"):
        load_plan(tmp_path / "none.json")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.json"
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text() == "two"
    with pytest.raises(InputError, match=r"^cannot write plan .*one\.json/below\.json; got "):
        write_whole(path / "below.json", "three", "plan ")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"^cannot write .*folder; got "):
        write_whole(tmp_path / "folder", "four")
    assert sorted(own.name for own in tmp_path.rglob("*")) == ["deep", "folder", "one.json"]
