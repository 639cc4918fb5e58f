import pytest
import torch

from recfold.embed import WireRow, possible_sums, saved_by_sum
from recfold.embed.choose_sums import more_flops_of_sum, wire_bytes_of_feature, wire_bytes_of_sum
from recfold.spec import FieldSum, Placement, Plan, Read, Topology, column_wise, replicated, row_wise, table_wise

NAMES = ("a", "b", "c")


def plan_of(*placed: Placement, ranks: int = 2) -> Plan:
    return Plan(topology=Topology(ranks=ranks), tables=dict(zip(NAMES, placed, strict=True)))


def reads(mode: str = "sum") -> list[Read]:
    return [Read(feature=name, table=name, mode=mode) for name in NAMES]  # type: ignore[arg-type]


def choose(candidate: FieldSum, own: list[Read], plan: Plan, ids: float, codec: str = "fp32") -> int:
    """How many of one candidate the plan allows and make a step cheaper."""
    found = possible_sums([candidate], own, plan)
    return sum(saved_by_sum(each, own, plan, dict.fromkeys(NAMES, ids), WireRow(codec)) > 0 for each in found)


def chosen(plan: Plan, *, squares: bool = False, mode: str = "sum", ids: float = 1.0) -> bool:
    candidate = FieldSum(name="abc", features=NAMES, squares="fields" if squares else None)
    return bool(choose(candidate, reads(mode), plan, ids))


@pytest.mark.parametrize("squares, ranks_held", [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_tables_of_one_rank_are_added_up_if_that_is_fewer_vectors(squares: bool, ranks_held: int) -> None:
    plan = plan_of(table_wise(8, 16, rank=0), table_wise(8, 16, rank=0), table_wise(8, 16, rank=ranks_held - 1))
    assert chosen(plan, squares=True if squares else None) == (ranks_held * (2 if squares else 1) < len(NAMES))


def test_bytes_are_those_of_the_wire() -> None:
    """Half of the lists are remote; 3 lengths and 3 rows there and back, or 3 lengths and one sum."""
    plan = plan_of(*[table_wise(8, 4, rank=1)] * 3)
    assert sum(wire_bytes_of_feature(read, plan, 2.0) for read in reads()) == 0.5 * 3 * (4 + 32)
    both = FieldSum(name="abc", features=NAMES)
    assert wire_bytes_of_sum(both, reads(), plan, dict.fromkeys(NAMES, 2.0)) == 0.5 * (3 * 4 + 32)
    assert wire_bytes_of_sum(both, reads("mean"), plan, dict.fromkeys(NAMES, 2.0)) == 0.5 * (3 * 4 + 32 + 3 * 8)


def test_bytes_follow_codec_and_dtype() -> None:
    plan, lists = plan_of(*[table_wise(8, 4, rank=1)] * 3), dict.fromkeys(NAMES, 2.0)
    both = FieldSum(name="abc", features=NAMES)
    for own, row in ((WireRow("fp16"), 16), (WireRow("int8"), 16), (WireRow(dtype=torch.float64), 64)):
        assert wire_bytes_of_feature(reads()[0], plan, 2.0, own) == 0.5 * (4 + row)
        assert wire_bytes_of_sum(both, reads(), plan, lists, own) == 0.5 * (3 * 4 + row)
    doubles = wire_bytes_of_sum(both, reads("mean"), plan, lists, WireRow(dtype=torch.float64))
    assert doubles == 0.5 * (3 * 4 + 64 + 3 * 16)


def test_short_rows_are_not_added_up_where_a_mean_needs_weights() -> None:
    """Two means of 6 ids: a row less there and back, 64 bytes as float32 and 32 as fp16, against 48 of weights."""
    plan = plan_of(*[table_wise(8, 8, rank=1)] * 3)
    candidate = FieldSum(name="ab", features=NAMES[:2])
    assert [choose(candidate, reads("mean"), plan, 6.0, codec) for codec in ("fp32", "fp16")] == [1, 0]


def test_a_list_asks_few_row_shards_where_it_has_few_ids() -> None:
    plan = plan_of(*[row_wise(8, 4, ranks=range(4))] * 3, ranks=4)
    assert wire_bytes_of_feature(reads()[0], plan, 1.0) == pytest.approx(0.75 * 36)
    assert wire_bytes_of_feature(reads()[0], plan, 50.0) == pytest.approx(0.75 * 36 * 4, rel=1e-5)
    assert not chosen(plan, ids=1.0)  # three rows for three features against a sum from each of four ranks
    assert chosen(plan, ids=50.0)


def test_two_tables_of_one_rank_are_added_up_but_not_their_squares_nor_row_shards() -> None:
    both = FieldSum(name="ab", features=NAMES[:2], squares="fields")
    ways = [replicated(8, 4), row_wise(8, 4, ranks=(0, 1)), table_wise(8, 4, rank=1)]
    assert [choose(both, reads(), plan_of(*[placed] * 3), 1.0) for placed in ways] == [0, 0, 0]
    assert choose(both.model_copy(update={"squares": None}), reads(), plan_of(*[ways[2]] * 3), 1.0) == 1


def test_squares_need_whole_rows_and_replicas_send_nothing() -> None:
    assert not chosen(plan_of(*[row_wise(8, 16, ranks=range(2))] * 3), squares="fields", ids=50.0)
    assert chosen(plan_of(*[column_wise(8, 16, ranks=range(2))] * 3), squares="fields")
    assert not chosen(plan_of(*[replicated(8, 16)] * 3))


def test_rows_of_ids_are_many_more_bytes_than_their_sum_and_norm() -> None:
    plan = plan_of(*[row_wise(8, 16, ranks=range(2))] * 3)
    candidate = FieldSum(name="abc", features=NAMES, squares="ids", norm=True)
    by_id = sum(wire_bytes_of_feature(read, plan, 5.0, by_id=True) for read in reads())
    assert by_id == 0.5 * 3 * 5 * 2 * 16 * 4
    assert wire_bytes_of_sum(candidate, reads(), plan, dict.fromkeys(NAMES, 5.0)) == 0.5 * 2 * (3 * 4 + 2 * 17 * 4)
    assert choose(candidate, reads(), plan, 5.0) == 1


def test_a_matrix_that_every_rank_multiplies_counts_operations() -> None:
    rows, whole = plan_of(*[row_wise(8, 16, ranks=range(2))] * 3), plan_of(*[table_wise(8, 16, rank=1)] * 3)
    own = FieldSum(name="abc", features=NAMES, total=False, product=2)
    assert more_flops_of_sum(own, reads(), rows) == 6 * 2 * 3 * 16
    assert more_flops_of_sum(own, reads(), whole) == 0
    wide = own.model_copy(update={"product": 400})
    assert [choose(s, reads(), rows, 50.0) for s in (own, wide)] == [1, 0]
