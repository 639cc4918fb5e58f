"""Every search places every table once and keeps to the memory; what cannot fit says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.plan import SEARCHERS, TableSize, load_plan, save_plan, search_plan, shares
from recfold.spec import InputError, Plan

SIZES = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(TableSize, rows=st.integers(1, 500), dim=st.integers(1, 8), row_bytes=st.integers(8, 64)),
    min_size=1,
)


@pytest.mark.parametrize("search", SEARCHERS)
@given(tables=SIZES, ranks=st.integers(1, 5))
def test_every_search_places_all_tables(search: str, tables: dict[str, TableSize], ranks: int) -> None:
    plan = search_plan(tables, ranks, search=search)
    plan.check_tables({name: (size.rows, size.dim) for name, size in tables.items()}, ranks)
    total = sum(size.num_bytes for size in tables.values())
    assert total <= sum(share.num_bytes for share in shares(plan, tables)) <= total + 8 * ranks * len(tables)


@pytest.mark.parametrize("search", SEARCHERS)
def test_a_plan_that_does_not_fit_names_the_table_and_what_would_help(search: str) -> None:
    tables = {"big": TableSize(1000, 4, 20), "small": TableSize(10, 4, 20)}
    with pytest.raises(InputError, match=r"table 'big' needs .* bytes on rank 0.*use at least 5 ranks"):
        search_plan(tables, 2, memory_bytes=4200, search=search)
    fits = search_plan(tables, 5, memory_bytes=4200, search=search)
    assert max(share.num_bytes for share in shares(fits, tables)) <= 4200


def test_a_wrong_search_answers_with_the_right_ones() -> None:
    with pytest.raises(InputError, match="unknown search 'gredy'; expected one of greedy; did you mean 'greedy'"):
        search_plan({"a": TableSize(1, 1, 4)}, 1, search="gredy")


def test_a_plan_survives_its_file(tmp_path) -> None:
    plan = search_plan({"a": TableSize(10, 4, 20)}, 2)
    save_plan(plan, tmp_path / "deep" / "plan.json")
    assert load_plan(tmp_path / "deep" / "plan.json") == plan
    assert isinstance(plan, Plan)
    with pytest.raises(InputError, match=r"cannot read plan .*write it with `recfold plan`"):
        load_plan(tmp_path / "none.json")
