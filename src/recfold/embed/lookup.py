"""What a step over ranks holds while it is under way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from recfold.comm import Exchange
from recfold.embed.bags import Bags
from recfold.embed.exchange import EVALUATES, FAILED, TRAINS, Request, Sizes
from recfold.embed.field_sums import Rows
from recfold.embed.pieces import Piece
from recfold.embed.replicas import ReplicasStep
from recfold.embed.route import Part
from recfold.optim import Joined


@dataclass(eq=False)
class Lookup:
    """A step under way: what this rank asked, what it was asked, and what it answered.

    Args:
        bags: of this rank.
        trains: whether a backward follows.
        parts: (piece, feature) -> what this rank asks for.
        requests: to each rank.
        replicas: of replicated tables.
        problem: what is wrong with the bags; "" for nothing.
        shipped: what of `requests` travels.
        announced: the exchange of sizes, under way.
        sizes: what each rank announced to this one.
        ids: the exchange of ids, under way.
        asked: requests of each rank, oneself included.
        joined, sums: what each own piece looks up for all ranks in their order, and the rows.
        answered: [rank][own piece] how many of them are for a rank.
        home: feature -> rows of replicated tables.
        kept: rows for this rank itself.
        wanted: numbers of rows that each rank gives to this one.
        rows: the exchanges of rows, one a wave, under way.
        grads: of a backward that has begun.
    """

    bags: Mapping[str, Bags]
    trains: bool
    parts: Mapping[tuple[Piece, str], Part]
    requests: Sequence[Request]
    replicas: ReplicasStep
    problem: str = ""
    shipped: Sequence[Request] = ()
    announced: Exchange | None = None
    sizes: Sequence[Sizes] = ()
    ids: Exchange | None = None
    asked: Sequence[Request] = ()
    joined: Sequence[Joined] = ()
    answered: Sequence[Sequence[int]] = ()
    sums: list[Tensor] = field(default_factory=list)
    home: Mapping[str, Rows] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    wanted: Sequence[Sequence[int]] = ()
    rows: list[Exchange] = field(default_factory=list)
    grads: "Gradients | None" = None

    @property
    def status(self) -> int:
        """What this rank says of itself."""
        return FAILED if self.problem else TRAINS if self.trains else EVALUATES


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of a step on their way to the ranks that hold the rows.

    Args:
        outgoing: to each rank; what goes to oneself does not travel.
        counts: rows of each type that come from each rank.
        under_way: the exchange.
    """

    outgoing: Sequence[Sequence[Tensor]]
    counts: Sequence[Sequence[int]]
    under_way: Exchange
