"""What training makes dearer: column pieces, replicas, and slower memory."""

import numpy as np
import pytest

from recfold.plan.bound import convex_minorant, lower_bound
from recfold.plan.choose_cost import choose_cost
from recfold.plan.cluster import Cluster, LinkSpec, Tier
from recfold.plan.cost import rank_ms
from recfold.plan.cost.as_trained import AsTrained, shipped_ratio
from recfold.plan.cost.exchange import exchange_bytes
from recfold.plan.cost.neural import shipped_cost
from recfold.plan.cost.tiers import TierCost
from recfold.plan.piece import NUM_BINS, TableLoad, moved_bins
from recfold.plan.search import SEARCHERS, find
from recfold.plan.task import Task
from recfold.spec import InputError, Topology

EVEN = tuple([1 / 8] * 8 + [0.0] * (NUM_BINS - 8))
TABLE = TableLoad("a", 50_000, 64, 260, 4096.0, 40_000.0, EVEN)
HALF = TABLE.whole().halves_by_columns()[0]  # type: ignore[index]


def test_a_replica_reads_each_row_as_much_more_seldom() -> None:
    replica = TABLE.replica(4)
    assert (replica.lists, replica.lookups, replica.copies) == (1024.0, 10_000.0, 4)
    assert replica.table.accesses == moved_bins(EVEN, 0.25)
    assert replica.table.accesses[:2] == (3 / 8, 1 / 8)
    assert replica.touched_rows > TABLE.whole().touched_rows / 4


def test_a_replica_sends_touched_rows_and_their_gradients_to_all_others() -> None:
    replica = TABLE.replica(4)
    touched = 3 * replica.touched_rows
    assert exchange_bytes([replica], 4).tolist() == [pytest.approx([touched * 8, touched * 64 * 4])]
    assert exchange_bytes([replica], 4, number_bytes=2)[0, 1] == pytest.approx(touched * 64 * 2)


def test_column_pieces_of_row_wise_rules_cost_what_torch_takes() -> None:
    fused = shipped_cost()
    plain, dearer = (AsTrained(fused, names, shipped_ratio()) for names in (frozenset(), frozenset({"a"})))
    alone = fused.ms(fused.rows([TABLE.whole(), HALF]))
    assert plain.ms(plain.rows([TABLE.whole(), HALF])) == pytest.approx(alone)
    whole_ms, half_ms = dearer.ms(dearer.rows([TABLE.whole(), HALF]))
    assert whole_ms == pytest.approx(alone[0])
    assert half_ms == pytest.approx(alone[1] * shipped_ratio().of([HALF])[0])
    assert 1.0 < shipped_ratio().of([HALF])[0] < 5.0
    # two of torch's pieces add up
    together = dearer.ms(dearer.rows([HALF, HALF]).sum(0)[None])[0]
    assert together == pytest.approx(2 * half_ms)


def test_a_replica_pays_for_the_rows_that_others_touch() -> None:
    ratio = shipped_ratio()
    few, many = ratio.of([TABLE.replica(2)])[0], ratio.of([TABLE.replica(16)])[0]
    assert 1 < few < many


def test_large_sparse_tables_are_not_replicated_and_small_busy_ones_may_be() -> None:
    busy = TableLoad("busy", 10, 64, 260, 16_000.0, 16_000.0, (0.0,) * 11 + (1.0,) + (0.0,) * (NUM_BINS - 12))
    sparse = TableLoad("sparse", 500_000, 64, 260, 16_000.0, 40_000.0, (1.0,) + (0.0,) * (NUM_BINS - 1))
    cluster = Cluster(within=LinkSpec(gbytes_per_s=1.0, latency_us=50))
    chosen = choose_cost("neural", 4, cluster=cluster, by_row=frozenset({"busy", "sparse"}))
    task = Task((busy, sparse), Topology(ranks=4), None, frozenset({"replicate", "rows"}))
    assert find(task, chosen.cost, search="best").replicated == ("busy",)


@pytest.mark.parametrize("splits", [frozenset(), frozenset({"rows", "columns", "replicate"})], ids=["whole", "all"])
def test_no_search_is_below_the_bound_with_an_exchange(splits: frozenset) -> None:
    tables = tuple(
        TableLoad(f"t{n}", 1000 * (n + 1), 64, 260, 500.0 * (n + 1), 4000.0 * (n % 3 + 1), EVEN) for n in range(8)
    )
    task = Task(tables, Topology(ranks=3), None, splits)
    cost = choose_cost("neural", 3, by_row=frozenset(own.name for own in tables)).cost
    bound = lower_bound(task, cost).ms
    assert bound > 0
    for search in SEARCHERS:
        found = find(task, cost, search=search, seconds=0.3)
        assert rank_ms(found, task, cost).max() >= 0.999 * bound, search


def test_the_convex_minorant_is_below_and_convex() -> None:
    x = np.linspace(0, 10, 21)
    found = np.array([convex_minorant(lambda own: np.sin(own) + own, 10.0, at) for at in x])
    assert (found <= np.sin(x) + x + 1e-9).all()
    assert (np.diff(found, 2) >= -1e-2).all()
    assert convex_minorant(lambda own: 3 + 2 * own, 10.0, 4.0) == pytest.approx(11.0)


def test_tiers_share_touched_rows_as_they_share_bytes() -> None:
    cost = TierCost((100.0, 1e9), (1e6, 1e5))
    # 50 bytes of ids, 20 touched, 400 held: three quarters of the touched rows come from the second tier, and go back
    assert cost.ms(np.array([[50.0, 20.0, 400.0]])).tolist() == pytest.approx([0.09 + 2 * 20 * 0.75 / 1e5 * 1e3])
    assert cost.ms(np.zeros((1, 3))).tolist() == [0.0]


def test_a_cost_says_where_it_comes_from() -> None:
    assert "neural cost fitted on" in choose_cost("neural", 4).about
    assert "as measured" in choose_cost("analytic", 4).about
    assert "links of" in choose_cost("neural", 64).about
    tiers = (Tier(name="HBM", gb=1.0, gbytes_per_s=100.0),)
    assert choose_cost("neural", 4, cluster=Cluster(tiers=tiers)).about.startswith("memory tiers (HBM 100 GB/s)")
    with pytest.raises(InputError, match="there is no fitted cost"):
        choose_cost("none.safetensors", 4)
