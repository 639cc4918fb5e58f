"""Milliseconds of the exchanges of a step: pooled rows out after the lookup, their gradients back before the update.

    forward    ids to the rank that holds the piece, rows [lists, dim] from it
    backward   gradients [lists, dim] to it

Of a step's distinct lists, 1 / ranks are a rank's own and stay. What a rank takes depends on its own bytes and on the
busiest rank's; a set that is rated alone counts as the busiest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recfold.plan.cost.cost import Cost
from recfold.plan.piece import Piece
from recfold.spec import InputError, Topology

MOST_RANKS = 16
"""That the fitted heads rate."""

ID_BYTES, LENGTH_BYTES, NUMBER_BYTES = 8, 4, 4


@dataclass(frozen=True)
class Link:
    """What connects two ranks.

    Args:
        bytes_per_s: that a rank can send, and at the same time receive.
        latency_ms: of a message.
    Raises:
        InputError: no bandwidth, or a negative latency.

    >>> Link(1e9, 0.1).ms(2e6)
    2.1
    """

    bytes_per_s: float
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bytes_per_s > 0 and self.latency_ms >= 0):
            raise InputError("a link needs a bandwidth above 0 and a latency from 0", got=self)

    def ms(self, num_bytes: float | np.ndarray) -> float | np.ndarray:
        """Milliseconds of so many bytes in one message."""
        return self.latency_ms + num_bytes / self.bytes_per_s * 1e3


LOOPBACK = Link(1.5e9, 0.1)
"""Gloo between processes of one machine, roughly."""


class Exchange(Protocol):
    """Milliseconds of the exchanges of a step."""

    def ms(self, forward_bytes: np.ndarray, backward_bytes: np.ndarray) -> np.ndarray:
        """Of ranks with so many bytes in the forward and in the backward [M], each rated as the busiest; [M]."""
        ...


@dataclass(frozen=True)
class LinkExchange:
    """By bandwidth and latency.

    Args:
        topology: ranks, and how many of them share a host.
        within: a host.
        between: hosts; as `within` where not given.
    """

    topology: Topology
    within: Link = LOOPBACK
    between: Link | None = None

    def ms(self, forward_bytes: np.ndarray, backward_bytes: np.ndarray) -> np.ndarray:
        """Ids and rows are two exchanges, gradients one; with hosts, what leaves the host and what stays go at once."""
        twice = self.within.latency_ms if self.topology.ranks > 1 else 0.0
        return self.all_to_all_ms(forward_bytes) + twice + self.all_to_all_ms(backward_bytes)

    def all_to_all_ms(self, num_bytes: np.ndarray) -> np.ndarray:
        """Of ranks that send so many bytes to all others together, evenly, [M]."""
        ranks, per_host = self.topology.ranks, self.topology.ranks_per_host or self.topology.ranks
        if ranks == 1:
            return np.zeros(len(num_bytes))
        inside = np.asarray(self.within.ms(num_bytes * (per_host - 1) / (ranks - 1)))
        if per_host == ranks:
            return inside
        outside = (self.between or self.within).ms(num_bytes * (ranks - per_host) / (ranks - 1))
        return np.maximum(inside, outside)


@dataclass(frozen=True, eq=False)
class NeuralExchange:
    """By two small networks, fitted to all-to-alls between processes of one machine.

    Args:
        arrays: `forward.` and `backward.`, each with `0.weight`, `0.bias`, `2.weight`, `2.bias`.
        ranks: of the group.
    """

    arrays: Mapping[str, np.ndarray]
    ranks: int

    def ms(self, forward_bytes: np.ndarray, backward_bytes: np.ndarray) -> np.ndarray:
        """Both heads, each rank as the busiest."""
        if self.ranks == 1:
            return np.zeros(len(forward_bytes))
        return self.head_ms("forward", forward_bytes, forward_bytes) + self.head_ms(
            "backward", backward_bytes, backward_bytes
        )

    def head_ms(self, head: str, own_bytes: np.ndarray, most_bytes: np.ndarray) -> np.ndarray:
        """Milliseconds [M] of one direction: `forward` sends `own_bytes`, `backward` receives them.

        Args:
            own_bytes: of each rank.
            most_bytes: of the busiest rank of its group.
        """
        inputs = exchange_inputs(self.ranks, own_bytes, most_bytes)
        own = {name.removeprefix(f"{head}."): array for name, array in self.arrays.items() if name.startswith(head)}
        hidden = np.maximum(inputs @ own["0.weight"].T + own["0.bias"], 0)
        found: np.ndarray = np.exp((hidden @ own["2.weight"].T + own["2.bias"])[:, 0])
        return found


def exchange_inputs(ranks: int | np.ndarray, own_bytes: np.ndarray, most_bytes: np.ndarray) -> np.ndarray:
    """What the heads see, [M, 3]: logarithms of ranks, own bytes and the busiest rank's, each about one wide."""
    logs = [np.log2(np.maximum(own, 1.0)) for own in (own_bytes, most_bytes)]
    many = np.broadcast_to(np.log2(ranks), own_bytes.shape)
    return np.column_stack([many - 1.0, (logs[0] - 18.0) / 4.0, (logs[1] - 18.0) / 4.0])


def exchange_bytes(pieces: Sequence[Piece], ranks: int, number_bytes: float = NUMBER_BYTES) -> np.ndarray:
    """Bytes that a rank exchanges with others for each piece, in the forward and in the backward, float64 [P, 2].

    Of a replicated table every rank sends the rows that it touches to all others, and later their gradients.

    Args:
        number_bytes: of a number of a row as it travels.
    """
    share = (ranks - 1) / ranks
    found = []
    for piece in pieces:
        if piece.copies > 1:
            touched = piece.touched_rows * (piece.copies - 1)
            found.append((touched * ID_BYTES, touched * piece.dim * number_bytes))
            continue
        rows = piece.lists * piece.dim * number_bytes
        found.append(((piece.lookups * ID_BYTES + piece.lists * LENGTH_BYTES + rows) * share, rows * share))
    return np.array(found, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class WithExchange:
    """A cost of computing, and the exchange on top: the bytes are two more numbers that add up.

    Args:
        compute: of the lookup, backward and update.
        exchange: of the group.
        ranks: of the group.
        number_bytes: of a number of a row as it travels.
    """

    compute: Cost
    exchange: Exchange
    ranks: int
    number_bytes: float = NUMBER_BYTES

    @property
    def name(self) -> str:
        """Of the cost of computing, with `+exchange`."""
        return f"{self.compute.name}+exchange"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """Those of `compute`, and the bytes of both exchanges, [P, K + 2]."""
        return np.column_stack([self.compute.rows(pieces), exchange_bytes(pieces, self.ranks, self.number_bytes)])

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M]."""
        compute, exchange = self.parts(sums)
        return compute + exchange

    def parts(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Milliseconds of computing, and of the exchange, [M] each."""
        return self.compute.ms(sums[:, :-2]), self.exchange.ms(sums[:, -2], sums[:, -1])
