import pytest

from recfold.spec import (
    InputError,
    Plan,
    Topology,
    column_wise,
    replicated,
    row_wise,
    table_wise,
    twcw,
    twrw,
)

TWO = Topology(ranks=2)
FOUR = Topology(ranks=4, ranks_per_host=2)


def plan_of(*shards: tuple[int, tuple[int, int], tuple[int, int]]) -> dict[str, object]:
    own = [{"rank": rank, "rows": rows, "columns": columns} for rank, rows, columns in shards]
    return {"topology": {"ranks": 2}, "tables": {"item": {"rows": 10, "dim": 4, "shards": own}}}


def test_every_kind_is_mixed_in_one_plan_and_survives_json() -> None:
    tables = {
        "tw": table_wise(7, 4, rank=3),
        "rw": row_wise(7, 4, ranks=(2, 0, 1)),
        "cw": column_wise(7, 12, ranks=(0, 1), multiple=4),
        "all": replicated(7, 4),
        "twrw": twrw(7, 4, topology=FOUR, host=1),
        "twcw": twcw(7, 4, topology=FOUR, host=0),
    }
    plan = Plan(topology=FOUR, tables=tables)
    assert Plan.from_json(plan.to_json()) == plan
    kinds = {name: placed.kind for name, placed in plan.tables.items()}
    assert kinds == {
        "tw": "table_wise",
        "rw": "row_wise",
        "cw": "column_wise",
        "all": "replicated",
        "twrw": "row_wise",
        "twcw": "column_wise",
    }
    assert [(s.rank, s.rows) for s in tables["rw"].shards] == [(2, (0, 2)), (0, (2, 4)), (1, (4, 7))]
    assert [s.columns for s in tables["cw"].shards] == [(0, 4), (4, 12)]
    assert {s.rank for s in tables["twrw"].shards} == {2, 3}
    assert {s.rank for s in tables["twcw"].shards} == {0, 1}


def test_column_blocks_are_cut_at_rows_of_their_own() -> None:
    plan = Plan.parse(plan_of((0, (0, 10), (0, 1)), (1, (0, 3), (1, 4)), (0, (3, 10), (1, 4))), "plan.json")
    assert plan.tables["item"].kind == "grid"
    blocks = plan.tables["item"].blocks()
    assert [[(s.rank, s.rows) for s in block] for block in blocks] == [[(0, (0, 10))], [(1, (0, 3)), (0, (3, 10))]]


@pytest.mark.parametrize(
    "shards, message",
    [
        ([], r"columns \[0, 4\) are on no rank"),
        ([(0, (0, 10), (0, 2))], r"columns \[2, 4\) are on no rank"),
        ([(0, (0, 4), (0, 4)), (1, (5, 10), (0, 4))], r"rows \[4, 5\) of columns \[0, 4\) are on no rank"),
        ([(0, (0, 6), (0, 4)), (1, (5, 10), (0, 4))], r"rows \[5, 6\) of columns \[0, 4\) are held twice"),
        ([(0, (0, 10), (0, 3)), (1, (0, 10), (2, 4))], r"columns \[2, 3\) are held twice"),
        ([(0, (0, 11), (0, 4))], r"rows \[10, 11\) of columns \[0, 4\) are outside the table"),
        ([(0, (0, 10), (0, 5))], r"columns \[4, 5\) are outside the table"),
        ([(2, (0, 10), (0, 4))], "a shard on rank 2, but there are 2 ranks"),
        ([(0, (3, 3), (0, 4))], r"rows \[3, 3\) of a shard are not a range with something in it"),
    ],
)
def test_shards_that_do_not_tile_their_table_are_one_clear_error(shards: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        Plan.parse(plan_of(*shards), "plan.json")


def test_other_mistakes_are_clear_errors() -> None:
    with pytest.raises(InputError, match=r"plan.json is not JSON"):
        Plan.from_json("{")
    with pytest.raises(InputError, match=r"unknown key 'tabels'.*did you mean 'tables'"):
        Plan.from_json('{"topology": {"ranks": 2}, "tables": {}, "tabels": {}}')
    with pytest.raises(InputError, match="3 ranks do not fill hosts of 2"):
        Topology.parse({"ranks": 3, "ranks_per_host": 2}, "topology")
    with pytest.raises(InputError, match="cannot cut 2 rows into 4 parts"):
        row_wise(2, 4, ranks=range(4))
    with pytest.raises(InputError, match="6 columns cannot be cut at multiples of 4"):
        column_wise(2, 6, ranks=(0, 1), multiple=4)
    with pytest.raises(InputError, match=r"there is no host 2; expected 0 to 1"):
        twrw(8, 4, topology=FOUR, host=2)


def test_a_plan_of_other_tables_is_told_apart() -> None:
    plan = Plan(topology=TWO, tables={"item": table_wise(10, 4, rank=0)})
    plan.check_tables({"item": (10, 4)}, 2)
    with pytest.raises(InputError, match="the plan is for 2 ranks; got 3"):
        plan.check_tables({"item": (10, 4)}, 3)
    with pytest.raises(InputError, match="does not place table 'user'"):
        plan.check_tables({"item": (10, 4), "user": (10, 4)}, 2)
    with pytest.raises(InputError, match="places unknown table 'item'"):
        plan.check_tables({}, 2)
    with pytest.raises(InputError, match="got 10 rows of 4; expected 11 rows of 4"):
        plan.check_tables({"item": (11, 4)}, 2)
