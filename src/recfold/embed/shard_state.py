"""What training changes of a rectangle of a table, and rectangles made of others: any plan's state loads under any."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.spec import InputError


@dataclass(frozen=True, eq=False)
class ShardState:
    """Weights and optimizer state of rows [a, b) and columns [c, d) of a table.

    Args:
        table: its name.
        rows, columns: the rectangle.
        tensors: `weight` [b - a, d - c] and what the update rule keeps: [b - a, d - c], [b - a] or [] (`step`).
    """

    table: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """`item[0:10,0:4]`."""
        return f"{self.table}[{self.rows[0]}:{self.rows[1]},{self.columns[0]}:{self.columns[1]}]"

    @property
    def num_cells(self) -> int:
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


def whole_shards(state: Mapping[str, Tensor]) -> tuple[ShardState, ...]:
    """The `state()` of one process as rectangles: each table whole.

    >>> (shard,) = whole_shards({"a.b.weight": torch.zeros(3, 2), "a.b.sum": torch.zeros(3)})
    >>> shard.table, shard.rows, shard.columns, list(shard.tensors)
    ('a.b', (0, 3), (0, 2), ['weight', 'sum'])
    """
    tables: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        table, _, kept = name.rpartition(".")
        tables.setdefault(table, {})[kept] = tensor
    return tuple(
        ShardState(table, (0, own["weight"].shape[0]), (0, own["weight"].shape[1]), own)
        for table, own in tables.items()
    )


def whole_state(shards: Iterable[ShardState]) -> dict[str, Tensor]:
    """Rectangles put together: the `state()` of one process. All tables are in memory at once.

    Raises:
        InputError: cells that no rectangle holds.
    """
    held = list(shards)
    tables: dict[str, list[ShardState]] = {}
    for shard in held:
        tables.setdefault(shard.table, []).append(shard)
    state: dict[str, Tensor] = {}
    for table, own in tables.items():
        rows, dim = max(shard.rows[1] for shard in own), max(shard.columns[1] for shard in own)
        shapes: dict[int, tuple[int, ...]] = {2: (rows, dim), 1: (rows,), 0: ()}
        tensors = {name: torch.zeros(shapes[part.dim()], dtype=part.dtype) for name, part in own[0].tensors.items()}
        load_shards([ShardState(table, (0, rows), (0, dim), tensors)], own)
        state |= {f"{table}.{name}": tensor for name, tensor in tensors.items()}
    return state


def load_shards(into: Sequence[ShardState], found: Iterable[ShardState]) -> None:
    """Fill rectangles from others that cover them; what overlaps nothing is passed over.

    Args:
        into: live tensors, written to.
        found: taken one at a time, so that it may read each from a file.
    Raises:
        InputError: another update rule or dtype, or cells that nothing covers; part of it may be loaded then.
    """
    filled = [0] * len(into)
    for source in found:
        for number, target in enumerate(into):
            if target.table == source.table:
                filled[number] += _copy_shared_(target, source)
    for cells, target in zip(filled, into, strict=True):
        if cells < target.num_cells:
            raise InputError(
                f"the state holds only {cells} of {target.num_cells} entries of {target.name!r}",
                todo="load every shard of a checkpoint of the same tables",
            )


def _copy_shared_(target: ShardState, source: ShardState) -> int:
    """Copy what both hold; returns the number of cells."""
    rows = _shared(target.rows, source.rows)
    columns = _shared(target.columns, source.columns)
    if not rows or not columns:
        return 0
    if target.tensors.keys() != source.tensors.keys():
        raise InputError(
            f"the state of table {target.table!r} is of another update rule",
            got=", ".join(source.tensors),
            expected=", ".join(target.tensors),
        )
    for name, tensor in target.tensors.items():
        other = source.tensors[name]
        if other.dtype != tensor.dtype or other.dim() != tensor.dim():
            raise InputError(
                f"{name!r} of table {target.table!r} does not fit",
                got=f"{other.dtype} with {other.dim()} axes",
                expected=f"{tensor.dtype} with {tensor.dim()}",
            )
        own_part = [_local(rows, target.rows), _local(columns, target.columns)][: tensor.dim()]
        other_part = [_local(rows, source.rows), _local(columns, source.columns)][: tensor.dim()]
        tensor[tuple(own_part)].copy_(other[tuple(other_part)])
    return len(rows) * len(columns)


def _shared(one: tuple[int, int], other: tuple[int, int]) -> range:
    return range(max(one[0], other[0]), min(one[1], other[1]))


def _local(shared: range, own: tuple[int, int]) -> slice:
    return slice(shared.start - own[0], shared.stop - own[0])


def copy_state_(own: Mapping[str, Tensor], state: Mapping[str, Tensor], noun: str, todo: str | None = None) -> None:
    """Copy a `state()` into live tensors of the same names.

    Args:
        noun: what it is a state of: `table`, `shard`.
        todo: where the names differ.
    Raises:
        InputError: other names, shapes or dtypes; nothing is changed then.
    """
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        raise InputError(
            f"the state belongs to other {noun}s or another update rule",
            got=f"without {missing[0]!r}" if missing else f"with {extra[0]!r}",
            expected=", ".join(own),
            todo=todo,
        )
    for name, tensor in own.items():
        if state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
            raise InputError(
                f"the state's {name!r} does not fit its {noun}",
                got=f"{state[name].dtype} {tuple(state[name].shape)}",
                expected=f"{tensor.dtype} {tuple(tensor.shape)}",
            )
    for name, tensor in own.items():
        tensor.copy_(state[name].detach())
