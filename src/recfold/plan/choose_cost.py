"""The cost that a plan is searched with: a name or a file, what training makes dearer, and the exchange."""

from dataclasses import dataclass
from pathlib import Path

from recfold.plan.cluster import Cluster
from recfold.plan.cost import Cost, Link, LinkExchange, NeuralCost, WithExchange, load_cost, shipped_cost
from recfold.plan.cost.as_trained import AsTrained, shipped_ratio
from recfold.plan.cost.exchange import LOOPBACK, MOST_RANKS, Exchange, NeuralExchange
from recfold.plan.cost.hardware import hardware_line
from recfold.plan.cost.tiers import TierCost
from recfold.spec import InputError

MEASURED = "measured"
"""Times sets on this machine: rates plans that were found, and searches none."""

ETHERNET = Link(1.25e9, 0.05)
"""Between hosts where nothing is said: 10 Gbit/s."""


@dataclass(frozen=True)
class ChosenCost:
    """Args:
    cost: of a set of pieces, the exchange included.
    compute: of the fused kernel, without the exchange.
    fitted: network whose exchange was measured with it; None where links are described.
    about: what it is and what it was fitted on, in one line.
    """

    cost: WithExchange
    compute: Cost
    fitted: NeuralCost | None
    about: str


def choose_cost(
    name: str,
    ranks: int,
    *,
    cluster: Cluster = Cluster(),  # noqa: B008 (frozen)
    by_row: frozenset[str] = frozenset(),
) -> ChosenCost:
    """The cost of a plan.

    Args:
        name: `neural`, `analytic` (its constants fitted with the shipped network), or a file of `recfold cost fit`.
            Memory tiers of the cluster take its place.
        ranks: of the plan.
        cluster: its links, where it has some.
        by_row: tables whose update rule looks at whole rows.
    Raises:
        InputError: no such file, or it is no fitted cost; or `measured`.
    """
    if name == MEASURED:
        raise InputError(
            "the cost 'measured' times every set that it rates, thousands of them here",
            expected="neural, analytic or a file of recfold cost fit",
            todo="`recfold plan --cost measured` searches by neural and times what it found",
        )
    network = shipped_cost() if name in ("neural", "analytic") else load_cost(Path(name))
    exchange, how = _exchange(network, ranks, cluster)
    if cluster.tiers:
        tiers = [(tier.gb * 1e9, tier.gbytes_per_s * 1e9) for tier in cluster.tiers]
        sizes, speeds = zip(*tiers, strict=True)
        moved = TierCost(tuple(sizes), tuple(speeds))
        listed = ", ".join(f"{tier.name} {tier.gbytes_per_s:g} GB/s" for tier in cluster.tiers)
        return ChosenCost(
            WithExchange(moved, exchange, ranks, cluster.wire_bytes), moved, None, f"memory tiers ({listed}); {how}"
        )
    compute: Cost = network.analytic if name == "analytic" else network
    own = AsTrained(compute, by_row, shipped_ratio())
    about = f"{compute.name} cost fitted on {hardware_line(network.facts['hardware'])}; {how}"
    fitted = network if isinstance(exchange, NeuralExchange) else None
    return ChosenCost(WithExchange(own, exchange, ranks, cluster.wire_bytes), compute, fitted, about)


def _exchange(network: NeuralCost, ranks: int, cluster: Cluster) -> tuple[Exchange, str]:
    described = cluster.exchange(ranks)
    if described is not None:
        return described, "exchange by the cluster's links"
    topology = cluster.topology(ranks)
    if network.exchange and ranks <= MOST_RANKS and topology.hosts == 1:
        return NeuralExchange(network.exchange, ranks), "exchange as measured between its processes"
    speeds = f"{LOOPBACK.bytes_per_s / 1e9:g} GB/s within a host, {ETHERNET.bytes_per_s / 1e9:g} GB/s between hosts"
    return LinkExchange(topology, LOOPBACK, ETHERNET), f"exchange by links of {speeds} (describe yours: --cluster)"
