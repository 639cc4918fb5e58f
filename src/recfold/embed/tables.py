"""Every embedding table of one process behind one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn

from recfold.embed.bags import Bags, check_bags, check_reads, check_together, join
from recfold.embed.kernel_choice import KernelChoice, KernelName, choose_kernels
from recfold.embed.ops import Kernel, build_kernels, have_equal_bags, split_reads
from recfold.embed.resolved_table import ResolvedTable, UpdateDefaults, initialise_, resolve_all
from recfold.embed.shard_state import ShardState, copy_state_, load_shards, whole_shards
from recfold.embed.side_by_side import SideBySide
from recfold.spec import Read, TableSpec


@dataclass(frozen=True)
class Op:
    """One kernel call of a step: its tables, and the reads of each."""

    kernel: Kernel
    tables: tuple[ResolvedTable, ...]
    reads: tuple[tuple[Read, ...], ...]


class EmbeddingTables(nn.Module):
    """Embedding tables and their exact sparse optimizers.

    A forward looks up every table once. A backward through its outputs updates every row that was read, once, with the
    sum of its gradients; so do not hand these tables to another optimizer (there are no `parameters()`). In eval mode,
    and under `torch.no_grad()`, outputs need no gradient and nothing is updated. The weights are in `state()`, not in
    `state_dict()`.

    Args:
        tables: table -> spec with its number of rows.
        reads: which feature reads which table, and how; one read a feature, at least one a table.
        kernel: `auto` takes FBGEMM where it is installed and can do exactly what a table asks, else torch.
        seed: first weights depend on it and on the table's name.
        device: of weights and bags.
        dtype: of all tables, instead of their specs'.
        together: feature -> its batch group: features of one group always have equally many lists, so that their
            tables may share one op. A feature that is not named gets an op of its own.
        update: optimizer, learning_rate, eps, weight_decay, beta1, beta2 of tables whose spec does not say.
    Raises:
        InputError: a read of an unknown table, a table without reads or rows, a wrong setting, or a kernel that cannot
            serve a table.

    Example:
        >>> tables = EmbeddingTables(
        ...     {"item": TableSpec(rows=10, dim=4)},
        ...     [Read(feature="likes", table="item", mode="sum"), Read(feature="last", table="item", mode="rows")],
        ...     kernel="torch",
        ... )
        >>> out = tables({
        ...     "likes": Bags(torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3])),
        ...     "last": Bags(torch.tensor([9]), torch.tensor([0, 1])),
        ... })
        >>> {feature: tuple(rows.shape) for feature, rows in out.items()}
        {'likes': (2, 4), 'last': (1, 4)}
        >>> (out["likes"].sum() + out["last"].sum()).backward()
        >>> tables.state()["item.sum"].tolist()
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 4.0]
    """

    def __init__(
        self,
        tables: Mapping[str, TableSpec],
        reads: Sequence[Read],
        *,
        kernel: KernelName = "auto",
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        together: Mapping[str, str] | None = None,
        **update: Unpack[UpdateDefaults],
    ) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.reads = tuple(reads)
        check_reads(tables, self.reads)
        self._together = dict(together or {})
        resolved = resolve_all(tables, update, dtype)
        self._rows = {name: table.rows for name, table in resolved.items()}
        self._choice = choose_kernels(list(resolved.values()), kernel, self.device)
        self._ops = _build(resolved, self.reads, self._together, self._choice, self.device)
        self._look_up = SideBySide([op.kernel for op in self._ops])
        self._places = {table.name: (op, place) for op in self._ops for place, table in enumerate(op.tables)}
        for name, table in resolved.items():
            op, place = self._places[name]
            initialise_(op.kernel.weights()[place], table, seed)

    def forward(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        """Look up every read.

        Args:
            bags: feature -> its bags; exactly the features that are read.
        Returns:
            feature -> [U, D] (`sum`; `mean`: the sum over the number of ids, 0 for an empty list) or [V, D] (`rows`),
            float32, or float64 for float64 tables.
        Raises:
            InputError: bags that are missing or malformed, or an id outside its table.
        """
        check_bags(self.reads, bags, self._rows, self.device)
        check_together(self.reads, bags, self._together)
        found: dict[str, Tensor] = {}
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            joined = [
                [join(reads, bags, own.out_dtype) for own, reads in zip(op.tables, op.reads, strict=True)]
                for op in self._ops
            ]
            for op, sums in zip(self._ops, self._look_up(joined), strict=True):
                for reads, sums_ND in zip(op.reads, sums, strict=True):
                    found |= split_reads(reads, bags, sums_ND)
        return {read.feature: found[read.feature] for read in self.reads}

    def state(self) -> dict[str, Tensor]:
        """What training changes, whichever kernel serves: `<table>.weight` [R, D] and what the update rule keeps:
        `<table>.sum` ([R, D] for adagrad, [R] for rowwise_adagrad); `<table>.m`, `<table>.v` ([R, D]) and
        `<table>.step` (one number, on the CPU) for adam. Live tensors: clone what is to stay."""
        state: dict[str, Tensor] = {}
        for name in self._rows:
            op, place = self._places[name]
            state[f"{name}.weight"] = op.kernel.weights()[place]
            state |= {f"{name}.{kept}": tensor for kept, tensor in op.kernel.states()[place].items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state()` in, from either kernel and any device.

        Raises:
            InputError: other tables, another update rule, shapes or dtypes; nothing is changed then.
        """
        copy_state_(self.state(), state, "table")

    def shards(self) -> tuple[ShardState, ...]:
        """`state()` as rectangles: each table whole."""
        return whole_shards(self.state())

    def load_shards(self, found: Iterable[ShardState]) -> None:
        """Fill the tables from rectangles of any plan that cover them.

        Args:
            found: taken one at a time.
        Raises:
            InputError: another update rule or dtype, or rows that no rectangle holds; part of it may be loaded then.
        """
        load_shards(self.shards(), found)

    def kernels(self) -> dict[str, str]:
        """Table -> the kernel that serves it, `fbgemm` or `torch`."""
        return dict(self._choice.kernels)

    def notes(self) -> tuple[str, ...]:
        """Lines that say which kernel serves which tables, and why.

        >>> tables = EmbeddingTables({"item": TableSpec(rows=10, dim=3)}, [Read(feature="a", table="item", mode="sum")])
        >>> tables.notes()
        ("torch serves table 'item': dim 3; FBGEMM's CPU op needs a multiple of 4",)
        """
        return self._choice.notes()

    def extra_repr(self) -> str:
        return "; ".join(self.notes())


def _build(
    tables: Mapping[str, ResolvedTable],
    reads: Sequence[Read],
    together: Mapping[str, str],
    choice: KernelChoice,
    device: torch.device,
) -> tuple[Op, ...]:
    reads_of = {name: tuple(read for read in reads if read.table == name) for name in tables}
    kernels = build_kernels(tables, have_equal_bags(reads_of, together), choice, device)
    return tuple(Op(kernel, kernel.tables, tuple(reads_of[own.name] for own in kernel.tables)) for kernel in kernels)
