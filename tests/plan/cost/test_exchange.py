"""Exchanges: bytes that add up, links, and heads fitted to measurements."""

import numpy as np
import pytest

from recfold.plan.choose_cost import choose_cost
from recfold.plan.cluster import Cluster
from recfold.plan.cost.analytic import AnalyticCost
from recfold.plan.cost.exchange import MOST_RANKS, Link, LinkExchange, NeuralExchange, WithExchange, exchange_bytes
from recfold.plan.cost.fit_exchange import fit_exchange
from recfold.plan.cost.measured_exchange import draw_bytes, measure_exchanges
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.spec import InputError, Topology

PIECE = TableLoad("a", 100, 16, 68, 10.0, 40.0, (1.0,) + (0.0,) * (NUM_BINS - 1)).whole()


def test_bytes_are_those_of_distinct_lists_that_leave_the_rank() -> None:
    rows = 10 * 16 * 4
    assert exchange_bytes([PIECE], 4).tolist() == [[(40 * 8 + 10 * 4 + rows) * 0.75, rows * 0.75]]
    assert exchange_bytes([PIECE], 1).tolist() == [[0.0, 0.0]]
    assert exchange_bytes([], 4).shape == (0, 2)


def test_links_add_latency_and_bytes() -> None:
    one_host = LinkExchange(Topology(ranks=4), Link(1e6, 1.0))
    assert one_host.ms(np.array([3000.0]), np.array([1000.0])).tolist() == pytest.approx([3 + 1 + 2 * 1 + 1])
    assert LinkExchange(Topology(ranks=1)).ms(np.array([0.0]), np.array([0.0])).tolist() == [0.0]


def test_between_hosts_the_slower_way_counts() -> None:
    hosts = LinkExchange(Topology(ranks=4, ranks_per_host=2), Link(1e9), Link(1e6))
    # of three other ranks one is on the host
    assert hosts.ms(np.array([3000.0]), np.array([0.0])).tolist() == pytest.approx([2.0])


def test_the_exchange_is_added_to_a_cost() -> None:
    compute = AnalyticCost()
    both = WithExchange(compute, LinkExchange(Topology(ranks=2), Link(1e6)), 2)
    rows = both.rows([PIECE, PIECE])
    assert both.name == "analytic+exchange"
    sums = rows.sum(0, keepdims=True)
    expected = compute.ms(sums[:, :3]) + sums[:, 3:].sum(1) / 1e6 * 1e3
    np.testing.assert_allclose(both.ms(sums), expected)


def test_heads_learn_a_bandwidth() -> None:
    random = np.random.default_rng(0)
    measured = []
    for _ in range(200):
        own, most = np.sort(2 ** random.uniform(12, 24, 2)).tolist()
        forward = 0.2 + most / 1e6
        values = {"own_bytes": own, "most_bytes": most, "forward_ms": forward, "backward_ms": 2 * forward}
        measured.append({"ranks": float(random.choice([2, 4])), **values})
    arrays, errors = fit_exchange(measured)
    assert max(errors.values()) < 0.1
    heads = NeuralExchange(arrays, 4)
    own = np.array([1e5, 1e6])
    np.testing.assert_allclose(heads.head_ms("forward", own, own), 0.2 + own / 1e6, rtol=0.15)
    np.testing.assert_allclose(heads.ms(own, own), 3 * (0.2 + own / 1e6), rtol=0.15)
    assert NeuralExchange(arrays, 1).ms(own, own).tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match="too few exchanges"):
        fit_exchange(measured[:3])


def test_exchanges_are_measured_between_processes() -> None:
    found = measure_exchanges(2, 2)
    assert [own["ranks"] for own in found] == [2] * 4
    assert {own["own_bytes"] for own in found} == set(draw_bytes(2, 2, 0).ravel().tolist())
    assert all(own["most_bytes"] >= own["own_bytes"] and own["forward_ms"] > 0 for own in found)


def test_the_fitted_exchange_rates_groups_of_one_machine_and_links_the_rest() -> None:
    assert isinstance(choose_cost("neural", MOST_RANKS).cost.exchange, NeuralExchange)
    assert isinstance(choose_cost("neural", MOST_RANKS + 1).cost.exchange, LinkExchange)
    assert isinstance(choose_cost("neural", 4, cluster=Cluster(ranks_per_host=2)).cost.exchange, LinkExchange)


def test_a_link_without_bandwidth_is_refused() -> None:
    with pytest.raises(InputError, match="bandwidth"):
        Link(0.0)
