"""How long a rank takes for each part of a step: lookups, exchanges, the dense part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.choose_cost import choose_cost
from recfold.plan.cluster import Cluster, Tier
from recfold.plan.cost import Cost, LinkExchange
from recfold.plan.cost.as_trained import AsTrained, shipped_ratio
from recfold.plan.cost.exchange import NeuralExchange
from recfold.plan.cost.tiers import moved_bytes
from recfold.plan.piece import Piece
from recfold.spec import InputError, Topology

GRADIENT_BYTES = 4


@dataclass(frozen=True)
class DensePart:
    """Milliseconds of the dense part of a rank's batch.

    Args:
        bottom_ms: of the forward, what needs no rows.
        forward_ms: all of the forward, `bottom_ms` included; backward_ms: with its update.
        parameters: whose gradients are summed over the ranks.
        read_ms: of a core, to read the next batch; beside the step, but on the same cores.
    """

    forward_ms: float
    backward_ms: float
    bottom_ms: float = 0.0
    parameters: int = 0
    read_ms: float = 0.0

    @classmethod
    def of(cls, cluster: Cluster, batch_size: int) -> "DensePart":
        """By operations and speed; the backward is twice the forward."""
        own = cluster.dense
        forward_ms = batch_size * own.mflops * 1e6 / (own.tflops * 1e12) * 1e3
        return cls(forward_ms, 2 * forward_ms, own.bottom_share * forward_ms, own.parameters)


@dataclass(frozen=True)
class Machine:
    """Args:
    topology: ranks and hosts.
    exchange: between ranks.
    tiers: memory of a rank; empty where `compute` says how long lookups take.
    compute: cost of the pieces of a rank, without the exchange.
    lookup_share: of `compute`, the lookup; the rest is the update.
    dense: of each rank.
    cores_per_host: shared by its ranks; None for a device each.
    wire_bytes: of a number of a row as it travels.
    """

    topology: Topology
    exchange: LinkExchange | NeuralExchange
    tiers: tuple[Tier, ...]
    compute: Cost
    lookup_share: float
    dense: DensePart
    cores_per_host: int | None = None
    wire_bytes: float = 4.0

    def table_ms(self, pieces: Sequence[Piece], rank: int) -> tuple[float, float]:
        """Milliseconds of the lookup and of the update of a rank's pieces.

        Raises:
            InputError: they are more than its tiers hold.
        """
        if not pieces:
            return 0.0, 0.0
        if self.tiers:
            lookup, update = tiered_ms(pieces, self.tiers, rank)
            return lookup, update
        total = float(self.compute.ms(self.compute.rows(pieces).sum(0)[None])[0])
        return self.lookup_share * total, (1 - self.lookup_share) * total

    def all_to_all_ms(self, bytes_N: np.ndarray, back: bool = False) -> np.ndarray:
        """Of ranks that exchange so many bytes with all others, float64 [N].

        Args:
            back: they receive them, where the measured exchange tells that apart.
        """
        if isinstance(self.exchange, LinkExchange):
            return self.exchange.all_to_all_ms(bytes_N)
        if self.topology.ranks == 1:
            return np.zeros(1)
        most = np.full(len(bytes_N), bytes_N.max())
        return self.exchange.head_ms("backward" if back else "forward", bytes_N, most)

    def all_reduce_ms(self, num_bytes: float) -> float:
        """Sums of so many bytes over all ranks: a ring inside each host, then one between hosts of a part each."""
        ranks = self.topology.ranks
        if ranks == 1 or num_bytes == 0:
            return 0.0
        if isinstance(self.exchange, NeuralExchange):
            once = self.all_to_all_ms(np.full(ranks, num_bytes * (ranks - 1) / ranks))
            return 2 * float(once.max())
        hosts = self.topology.hosts
        per_host = ranks // hosts
        within, between = self.exchange.within, self.exchange.between or self.exchange.within
        return _ring_ms(num_bytes, per_host, within.bytes_per_s, within.latency_ms) + _ring_ms(
            num_bytes / per_host, hosts, between.bytes_per_s, between.latency_ms
        )


def _ring_ms(num_bytes: float, members: int, bytes_per_s: float, latency_ms: float) -> float:
    """
    >>> _ring_ms(4e6, 4, 1e9, 0.5), _ring_ms(4e6, 1, 1e9, 0.5)
    (9.0, 0.0)
    """
    return 2 * (members - 1) * (num_bytes / members / bytes_per_s * 1e3 + latency_ms)


def tiered_ms(pieces: Sequence[Piece], tiers: Sequence[Tier], rank: int = 0) -> tuple[float, float]:
    """Milliseconds of the lookup and of the update, see `recfold.plan.cost.tiers`: the pieces of which most is touched
    for their size lie in the fastest tier; of one that lies in two, each has as large a share of the touched rows as it
    holds.

    Raises:
        InputError: the tiers are too small.
    """
    moved = moved_bytes(pieces)
    sizes = np.array([float(piece.num_bytes) for piece in pieces])
    missing = sizes.sum() - sum(tier.gb * 1e9 for tier in tiers)
    if missing > 1:
        raise InputError(
            f"rank {rank} holds more than its memory",
            got=f"{missing / 1e9:.3g} GB are missing",
            todo="plan for more devices, or describe a larger tier",
        )
    all_ms, touched_ms = moved.sum(0) / (tiers[0].gbytes_per_s * 1e6)
    fetched_ms, number, left = 0.0, 0, tiers[0].gb * 1e9
    for place in np.argsort(-moved[:, 1] / sizes, kind="stable").tolist():
        rest = float(sizes[place])
        while rest > 0:
            held = rest if number == len(tiers) - 1 else min(rest, left)
            if number:
                fetched_ms += moved[place, 1] * held / sizes[place] / (tiers[number].gbytes_per_s * 1e6)
            rest, left = rest - held, left - held
            if rest > 0:
                number, left = number + 1, tiers[number + 1].gb * 1e9
    return float(all_ms) + fetched_ms, 2 * float(touched_ms) + fetched_ms


def machine_of(
    cluster: Cluster, ranks: int, batch_size: int, *, cost: str = "neural", by_row: frozenset[str] = frozenset()
) -> Machine:
    """So many ranks of a described cluster.

    Args:
        batch_size: samples of a rank.
        cost: of lookups where the cluster has no tiers, see `choose_cost`.
        by_row: tables whose update rule looks at whole rows.
    Raises:
        InputError: ranks that do not fill hosts, or an unknown cost.
    """
    chosen = choose_cost(cost, ranks, cluster=cluster, by_row=by_row)
    exchange = chosen.cost.exchange
    assert isinstance(exchange, LinkExchange | NeuralExchange)
    ratio = shipped_ratio()
    compute = chosen.compute if cluster.tiers else AsTrained(chosen.compute, by_row, ratio)
    return Machine(
        topology=cluster.topology(ranks),
        exchange=exchange,
        tiers=cluster.tiers,
        compute=compute,
        lookup_share=ratio.fused_forward,
        dense=DensePart.of(cluster, batch_size),
        cores_per_host=cluster.cores_per_host,
        wire_bytes=cluster.wire_bytes,
    )
