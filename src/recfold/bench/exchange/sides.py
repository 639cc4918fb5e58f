"""The sides of the bench as a rank runs them: whole training steps of one model, one after the other."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from recfold.batch import Batch
from recfold.bench.exchange.tap import SPARSE, Tap
from recfold.bench.exchange.torchrec_side import TorchRecSide
from recfold.embed import ShardedTables
from recfold.spec import InputError, Plan, Schema, Topology, unknown
from recfold.spec.plan import table_wise
from recfold.train import RunSettings
from recfold.train.assemble import table_sizes
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks
from recfold.train.settings import RankSettings
from recfold.train.traffic import DENSE, Sent


class RankSide(Protocol):
    """Something that trains on every rank at once."""

    def prepare(self, batch: Batch) -> Any:
        """This rank's batch as this side reads it, in memory: not timed."""

    def steps(self, prepared: Sequence[Any]) -> list[float]:
        """Whole training steps; the mean of their losses over ranks is that of all ranks' batches as one."""

    def sent(self) -> dict[str, int]:
        """Bytes that this rank has sent by kind since it was last asked; `dense` is the payload of all-reduces."""

    def waited_ms(self) -> float | None:
        """Time spent waiting for exchanges since it was last asked; None where the side does not know."""


OWN: dict[str, Mapping[str, Any]] = {
    "recfold": {},
    **{f"recfold-{codec}": {"codec": codec} for codec in ("fp16", "bf16", "int8")},
    "no-overlap": {"overlap": "off"},
    "waves": {"waves": 3},
}
"""Our own ways -> their settings of `ranks`."""


class OwnSide:
    """`recfold train` on several ranks."""

    def __init__(self, schema: Schema, settings: RunSettings, ranks: Ranks, tap: Tap) -> None:
        plan = dealt_plan(schema, settings, ranks.size) if ranks.size > 1 else None
        self._learner = Learner(schema, settings, plan=plan, ranks=ranks)
        self._tap = tap
        self._sent: Sent | None = None

    def prepare(self, batch: Batch) -> Batch:
        # a slice has no caches yet: no side profits from the one before it
        return batch.slice(0, batch.num_samples)

    def steps(self, prepared: Sequence[Batch]) -> list[float]:
        following = [*prepared[1:], None]
        return [
            self._learner.step(batch, upcoming=partial(_same, coming)).loss
            for batch, coming in zip(prepared, following, strict=True)
        ]

    def sent(self) -> dict[str, int]:
        """Raises:
        InputError: recfold's own count is not what its collectives were given.
        """
        traffic, seen = self._learner.traffic, self._tap.take()
        by_kind: dict[str, int] = {}
        if traffic is not None:
            so_far = traffic.so_far()
            by_kind = {kind: n for kind, n in so_far.since(self._sent).sent_bytes.items() if n and kind != DENSE}
            self._sent = so_far
        counted, passed = sum(by_kind.values()), sum(seen.pop(kind, 0) for kind in SPARSE)
        if counted != passed:
            raise InputError(
                "recfold counts other bytes than it sends", got=f"{counted}", expected=f"{passed}", todo="report this"
            )
        return by_kind | seen

    def waited_ms(self) -> float | None:
        return sum(self._wire.take_waits().values()) if self._wire else None

    @property
    def _wire(self) -> Any:
        tables = self._learner.assembled.tables
        return tables.wire if isinstance(tables, ShardedTables) else None


def _same(batch: Batch | None) -> Batch | None:
    return batch


def dealt_plan(schema: Schema, settings: RunSettings, ranks: int) -> Plan:
    """Whole tables dealt to ranks in turn: features of a group, whose lists are as long and as often repeated, follow
    each other, so that ranks have as many lookups with and without folding. Both sides use it."""
    sizes = table_sizes(schema, settings)
    return Plan(
        topology=Topology(ranks=ranks),
        tables={
            name: table_wise(own.rows, own.dim, rank=number % ranks) for number, (name, own) in enumerate(sizes.items())
        },
    )


def _own(name: str) -> Callable[[Schema, RunSettings, Ranks, Tap], RankSide]:
    def build(schema: Schema, settings: RunSettings, ranks: Ranks, tap: Tap) -> RankSide:
        own = settings.model_copy(update={"ranks": settings.ranks.updated(dict(OWN[name]), "recfold bench")})
        return OwnSide(schema, own, ranks, tap)

    return build


def _torchrec(variable: bool) -> Callable[[Schema, RunSettings, Ranks, Tap], RankSide]:
    def build(schema: Schema, settings: RunSettings, ranks: Ranks, tap: Tap) -> RankSide:
        return TorchRecSide(schema, settings, dealt_plan(schema, settings, ranks.size), ranks, tap, variable=variable)

    return build


SIDES: dict[str, Callable[[Schema, RunSettings, Ranks, Tap], RankSide]] = {
    # a way that is said by a setting which there is not is no side
    **{name: _own(name) for name, given in OWN.items() if given.keys() <= RankSettings.model_fields.keys()},
    "torchrec-kjt": _torchrec(variable=False),
    "torchrec-vbe": _torchrec(variable=True),
}


def build_rank_side(name: str, schema: Schema, settings: RunSettings, ranks: Ranks, tap: Tap) -> RankSide:
    """A side at its first step, on this rank; every rank builds it.

    Raises:
        InputError: no such side, or a peer that is not installed.
    """
    if name not in SIDES:
        raise unknown("side", name, SIDES)
    return SIDES[name](schema, settings, ranks, tap)
