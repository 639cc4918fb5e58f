"""What a model computed on how many rows: the value that `explain` gives."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Operation:
    """Operations of one kind that follow each other in one module.

    Args:
        module: its path in the model; empty for the model itself.
        name: of the torch function, such as `linear`.
        times: how many calls are summed up here.
        rows_used: rows that it was computed on. Where parts of it ran on different rows (a split linear layer, pairs of
            vectors), the rows of an ordinary one that would cost as much.
        rows_needed: rows that an ordinary tensor has.
        flops_used, flops_needed: floating-point operations, forward only (see `Flops`).
        unfolded: why folded arguments were copied out to samples before it, where they were.
    """

    module: str
    name: str
    times: int
    rows_used: int
    rows_needed: int
    flops_used: int
    flops_needed: int
    unfolded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lookup:
    """A feature's lookup.

    Args:
        lists_used, lists_needed: distinct lists, and samples.
        ids_used, ids_needed: ids looked up, and those of every sample's list; None where that is not known.
    """

    feature: str
    lists_used: int
    lists_needed: int
    ids_used: int | None = None
    ids_needed: int | None = None


@dataclass(frozen=True)
class Explanation:
    """What a model computed on how many rows.

    Args:
        num_samples: B of the batch.
        lookups: of its features.
        operations: in the order in which they ran; what only arranges entries is left out.
    """

    num_samples: int
    lookups: tuple[Lookup, ...]
    operations: tuple[Operation, ...]

    @property
    def rows_used(self) -> int:
        return sum(operation.rows_used for operation in self.operations)

    @property
    def rows_needed(self) -> int:
        return sum(operation.rows_needed for operation in self.operations)

    @property
    def flops_used(self) -> int:
        return sum(operation.flops_used for operation in self.operations)

    @property
    def flops_needed(self) -> int:
        return sum(operation.flops_needed for operation in self.operations)

    @property
    def ids_used(self) -> int:
        return sum(lookup.ids_used or 0 for lookup in self.lookups)

    @property
    def ids_needed(self) -> int:
        return sum(lookup.ids_needed or 0 for lookup in self.lookups)

    def as_dict(self) -> dict[str, Any]:
        """Everything, totals included, as JSON takes it."""
        names = ("rows_used", "rows_needed", "flops_used", "flops_needed", "ids_used", "ids_needed")
        return asdict(self) | {"total": {name: getattr(self, name) for name in names}}


def summed_up(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Operations of one module and kind that follow each other as one."""
    found: list[Operation] = []
    for own in operations:
        last = found[-1] if found else None
        if last is None or (last.module, last.name) != (own.module, own.name):
            found.append(own)
            continue
        found[-1] = Operation(
            own.module,
            own.name,
            last.times + own.times,
            last.rows_used + own.rows_used,
            last.rows_needed + own.rows_needed,
            last.flops_used + own.flops_used,
            last.flops_needed + own.flops_needed,
            tuple(dict.fromkeys(last.unfolded + own.unfolded)),
        )
    return tuple(found)
