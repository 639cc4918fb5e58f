"""A table with everything known: the spec's values, the trainer's where it says nothing, and the first weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor

from recfold.optim import SparseOptimizer, UpdateSettings, sparse_optimizer
from recfold.spec import InputError, Shard, TableSpec, unknown, xxh64_strings

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
DRAWN_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class ResolvedTable:
    """An embedding table as a kernel builds it.

    Args:
        name, rows, dim, dtype: of the weight [rows, dim].
        init: first weights are uniform in ±init.
        optimizer, settings: its update rule.
    """

    name: str
    rows: int
    dim: int
    dtype: torch.dtype
    init: float
    optimizer: SparseOptimizer
    settings: UpdateSettings

    @property
    def out_dtype(self) -> torch.dtype:
        """Of looked-up rows and their gradients: sums of half precision are taken, and stay, in float32."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def fingerprint(self) -> str:
        """All of it as text that is the same in every process."""
        return f"{self.name} {self.rows} {self.dim} {self.dtype} {self.init} {self.optimizer.name} {self.settings}"


class UpdateDefaults(TypedDict, total=False):
    """How tables are updated whose spec does not say: `optimizer`, and the fields of `UpdateSettings`."""

    optimizer: str
    learning_rate: float
    eps: float
    weight_decay: float
    beta1: float
    beta2: float


UPDATE_DEFAULTS: dict[str, Any] = {
    "optimizer": "rowwise_adagrad",
    "learning_rate": 0.01,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "beta1": 0.9,
    "beta2": 0.999,
}


def resolve_all(
    tables: Mapping[str, TableSpec], update: UpdateDefaults, dtype: torch.dtype | None
) -> dict[str, ResolvedTable]:
    """Complete the specs of all tables.

    Args:
        update: for specs that leave these None, in place of `UPDATE_DEFAULTS`.
        dtype: of the rows, instead of the specs'.
    Raises:
        InputError: an unknown key, a number of rows that is not known, or a wrong value.
    """
    for key in update:
        if key not in UPDATE_DEFAULTS:
            raise unknown("option of embedding tables", key, UPDATE_DEFAULTS)
    defaults = {**UPDATE_DEFAULTS, **update}
    return {name: _resolve(name, spec, defaults, dtype) for name, spec in tables.items()}


def _resolve(name: str, spec: TableSpec, defaults: Mapping[str, Any], dtype: torch.dtype | None) -> ResolvedTable:
    if spec.rows is None:
        raise InputError(f"the number of rows of table {name!r} is not known", todo=f"set tables.{name}.rows")
    values = {key: default if (own := getattr(spec, key)) is None else own for key, default in defaults.items()}
    optimizer = sparse_optimizer(values.pop("optimizer"))
    return ResolvedTable(
        name=name,
        rows=spec.rows,
        dim=spec.dim,
        dtype=dtype or DTYPES[spec.dtype],
        init=1.0 / math.sqrt(spec.rows) if spec.init is None else spec.init,
        optimizer=optimizer,
        settings=UpdateSettings.parse(values, f"table {name!r}"),
    )


def initialise_(weight_RD: Tensor, table: ResolvedTable, seed: int) -> None:
    """Draw first weights, which depend on the seed, the table's name and its shape only.

    They are drawn on the CPU in float32, so that every kernel, device and dtype starts from the same numbers.
    """
    generator = torch.Generator().manual_seed(int(xxh64_strings([f"{seed}:{table.name}"])[0]))
    for part in weight_RD.view(-1).split(DRAWN_AT_ONCE):
        part.copy_(torch.empty(len(part)).uniform_(-table.init, table.init, generator=generator))


def initialise_shard_(weight: Tensor, table: ResolvedTable, shard: Shard, seed: int) -> None:
    """Draw the first weights of a whole table block by block and keep those of one rectangle.

    Args:
        weight: of the rectangle.
        table: the whole one.
    """
    (first_row, stop_row), (first_column, stop_column) = shard.rows, shard.columns
    generator = torch.Generator().manual_seed(int(xxh64_strings([f"{seed}:{table.name}"])[0]))
    first, stop = first_row * table.dim, stop_row * table.dim
    started, row = torch.empty(0), 0  # of a row whose other part is in the next block
    for start in range(0, stop, DRAWN_AT_ONCE):
        size = min(DRAWN_AT_ONCE, table.rows * table.dim - start)
        drawn = torch.empty(size).uniform_(-table.init, table.init, generator=generator)
        drawn = torch.cat([started, drawn[max(first - start, 0) : stop - start]])
        num_rows = len(drawn) // table.dim
        rows = drawn[: num_rows * table.dim].view(num_rows, table.dim)
        weight[row : row + num_rows].copy_(rows[:, first_column:stop_column])
        started, row = drawn[num_rows * table.dim :], row + num_rows
