"""Simulated steps by hand arithmetic, and what has to hold of any of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from recfold.plan.cluster import Cluster, LinkSpec, Tier, load_cluster
from recfold.plan.cost import Link, LinkExchange
from recfold.plan.loads import Loads, load_loads, write_loads
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.simulate import PHASES, DensePart, Machine, curve, machine_of, save_curve, simulate
from recfold.plan.simulate.curve import CurveRequest
from recfold.plan.simulate.machine import tiered_ms
from recfold.spec import InputError, Plan, Topology
from recfold.spec.plan import replicated, table_wise

ONCE = (1.0,) + (0.0,) * (NUM_BINS - 1)
BIG = TableLoad("big", 1000, 16, 68, 100.0, 400.0, ONCE)
SMALL = TableLoad("small", 100, 16, 68, 100.0, 100.0, ONCE)
PLAN = Plan(
    topology=Topology(ranks=2),
    tables={"big": table_wise(1000, 16, rank=0), "small": table_wise(100, 16, rank=1)},
)


class PerLookup:
    """A millisecond for every hundred lookups."""

    name = "per lookup"

    def rows(self, pieces) -> np.ndarray:
        return np.array([[piece.lookups / 100] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        return sums[:, 0]


def machine(**changes) -> Machine:
    """Two ranks, links of a byte a microsecond without latency, and 2 + 3 ms of dense part."""
    plain = Machine(
        topology=Topology(ranks=2),
        exchange=LinkExchange(Topology(ranks=2), Link(1e6)),
        tiers=(),
        compute=PerLookup(),
        lookup_share=0.25,
        dense=DensePart(forward_ms=2.0, backward_ms=3.0, bottom_ms=0.5, parameters=250),
    )
    return dataclasses.replace(plain, **changes)


def test_phases_are_those_of_a_calculation_by_hand() -> None:
    step = simulate(PLAN, (BIG, SMALL), machine(), overlap=False)
    ids = [(400 * 8 + 100 * 4) / 2 / 1e3, (100 * 8 + 100 * 4) / 2 / 1e3]
    rows = 100 * 16 * 4 / 2 / 1e3
    expected = {
        "ids": ids,
        "lookup": [1.0, 0.25],
        "vectors": [rows, rows],
        "forward": [2.0, 2.0],
        "backward": [3.0, 3.0],
        "gradients": [rows, rows],
        "update": [3.0, 0.75],
        "all-reduce": [1.0, 1.0],  # 1,000 bytes: half of them sent twice
    }
    assert list(step.phases) == list(PHASES) == list(expected)
    for name, own in expected.items():
        assert step.phases[name].tolist() == pytest.approx(own), name
    assert step.ms == pytest.approx(1.8 + 1 + 3.2 + 2 + 3 + 3.2 + 3 + 1)
    assert step.slowest == 0


def test_what_travels_hides_behind_what_is_computed() -> None:
    hidden = simulate(PLAN, (BIG, SMALL), machine())
    assert hidden.ms == pytest.approx(1 + max(3.2, 0.5) + max(1.5 + 3, 1.8) + max(3.2 + 3, 1))
    assert hidden.ms < simulate(PLAN, (BIG, SMALL), machine(), overlap=False).ms


def test_ranks_that_share_cores_take_the_work_of_all_of_them() -> None:
    shared = simulate(PLAN, (BIG, SMALL), machine(cores_per_host=1))
    every = sum(own.sum() for own in shared.phases.values())
    assert shared.ms == shared.cores_ms == pytest.approx(every)
    read = machine(cores_per_host=1, dense=dataclasses.replace(machine().dense, read_ms=4.0))
    assert simulate(PLAN, (BIG, SMALL), read).ms == pytest.approx(every + 2 * 4.0)
    assert simulate(PLAN, (BIG, SMALL), machine(cores_per_host=64)).ms == simulate(PLAN, (BIG, SMALL), machine()).ms


def test_a_replica_sends_its_touched_rows_to_all_others() -> None:
    plan = PLAN.model_copy(update={"tables": {**PLAN.tables, "small": replicated(100, 16)}})
    step = simulate(plan, (BIG, SMALL), machine())
    # 50 rows are touched on either rank
    assert step.phases["gradients"].tolist() == pytest.approx([3.2 + 50 * 16 * 4 / 1e3, 50 * 16 * 4 / 1e3])
    assert step.phases["vectors"].tolist() == pytest.approx([3.2, 0.0])
    assert step.phases["lookup"].tolist() == pytest.approx([0.25 * 4.5, 0.25 * 0.5])


def test_a_faster_link_never_makes_a_step_slower() -> None:
    steps = [
        simulate(PLAN, (BIG, SMALL), machine(exchange=LinkExchange(Topology(ranks=2), Link(speed)))).ms
        for speed in (1e5, 1e6, 1e7, 1e8)
    ]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > steps[-1]


def test_rows_of_a_slower_tier_are_fetched_and_written_back() -> None:
    pieces = [BIG.whole(), SMALL.whole()]
    one = (Tier(name="fast", gb=1.0, gbytes_per_s=0.001),)
    moved = 500 * 68 / 1e3
    assert tiered_ms(pieces, one) == pytest.approx((moved, 2 * moved))
    # small is touched most for its size, and fills the fast tier: all of big is fetched
    two = (Tier(name="fast", gb=6.8e-6, gbytes_per_s=0.001), Tier(name="slow", gb=1.0, gbytes_per_s=0.0001))
    fetched = 400 * 68 / 1e2
    assert tiered_ms(pieces, two) == pytest.approx((moved + fetched, 2 * moved + fetched))
    half = (Tier(name="fast", gb=40.8e-6, gbytes_per_s=0.001), two[1])
    assert tiered_ms(pieces, half) == pytest.approx((moved + fetched / 2, 2 * moved + fetched / 2))
    with pytest.raises(InputError, match=r"rank 3 holds more than its memory; got 3.4e-05 GB are missing"):
        tiered_ms(pieces, half[:1], rank=3)


def loads() -> Loads:
    return Loads(ranks=2, batch_size=50, tables=(BIG, SMALL))


CLUSTER = Cluster(
    ranks_per_host=2,
    within=LinkSpec(gbytes_per_s=1.0),
    between=LinkSpec(gbytes_per_s=0.1, latency_us=10.0),
    tiers=(Tier(name="fast", gb=50e-6, gbytes_per_s=10.0),),
)


def test_a_wrong_search_is_no_size_that_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"unknown search 'bets'; .*did you mean 'best'"):
        curve(loads(), CLUSTER, [1, 2], CurveRequest(search="bets"))


def test_a_curve_plans_every_size_and_says_what_does_not_fit(tmp_path: Path) -> None:
    told: list[int] = []
    request = CurveRequest(splits=frozenset({"rows"}))
    points = curve(loads(), CLUSTER, [1, 2, 4], request, lambda done, total: told.append(done))
    assert [point.ranks for point in points] == [1, 2, 4]
    assert points[0].step is None
    assert "the tables need 74,800 bytes" in points[0].problem
    for point in points[1:]:
        assert point.step is not None
        assert point.samples_per_s == pytest.approx(point.ranks * 50 / point.step.ms * 1e3)
    assert told == [0, 1, 2]
    for name in ("curve.svg", "curve.png"):
        save_curve(points, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(InputError, match="no size of the curve fits"):
        save_curve(points[:1], tmp_path / "none.svg")
    with pytest.raises(InputError, match=r"cannot draw curve\.txt"):
        save_curve(points, tmp_path / "curve.txt")


def test_loads_grow_with_the_ranks_and_survive_their_file(tmp_path: Path) -> None:
    big, _ = loads().of_ranks(8)
    assert (big.lists, big.lookups, big.accesses[2]) == (400.0, 1600.0, 1.0)
    write_loads([BIG, SMALL], tmp_path / "own" / "loads.json", ranks=2, batch_size=50)
    assert load_loads(tmp_path / "own" / "loads.json") == loads()
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="cannot read loads"):
        load_loads(tmp_path / "bad.json")


def test_a_cluster_is_read_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('ranks_per_host = 8\n[within]\ngbytes_per_s = 2\n[[tiers]]\nname = "a"\ngb = 1\ngbytes_per_s = 3\n')
    found = load_cluster(path)
    assert (found.memory_bytes, found.topology(4).hosts, found.topology(16).hosts) == (10**9, 1, 2)
    with pytest.raises(InputError, match="12 ranks do not fill hosts of 8"):
        machine_of(found, 12, 10)
    path.write_text("rank_per_host = 8\n")
    with pytest.raises(InputError, match="did you mean 'ranks_per_host'"):
        load_cluster(path)
    with pytest.raises(InputError, match="cannot read cluster"):
        load_cluster(tmp_path / "none.toml")
    slow_first = [{"name": "a", "gb": 1, "gbytes_per_s": 1}, {"name": "b", "gb": 1, "gbytes_per_s": 2}]
    with pytest.raises(InputError, match="fastest first"):
        Cluster.parse({"tiers": slow_first}, "here")


def test_a_plan_of_other_ranks_is_refused() -> None:
    with pytest.raises(InputError, match="the plan is for 2 ranks"):
        simulate(PLAN, (BIG, SMALL), machine(topology=Topology(ranks=4)))
