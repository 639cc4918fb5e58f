"""Which rank holds which rectangle of which embedding table.

Legend: R rows of a table, D embedding dim, ranks 0 ... N - 1; ranges are half open.

              columns 0        D/2        D
    rows 0    +---------------------------+
              | rank 0                    |      table_wise: one rectangle           row_wise: cut at rows
         R/2  +---------------------------+      column_wise: cut at columns         replicated: all of it on every rank
              | rank 1                    |      twrw, twcw: row_wise, column_wise over the ranks of one host
         R    +---------------------------+
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from recfold.spec.errors import InputError
from recfold.spec.settings import Settings

PlacementKind = Literal["table_wise", "row_wise", "column_wise", "replicated", "grid"]
Range = tuple[int, int]


class Topology(Settings):
    """The machine.

    Args:
        ranks: processes.
        ranks_per_host: of one machine, ranks of a host being neighbours; all of them where not given.
    """

    ranks: int = Field(gt=0)
    ranks_per_host: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole_hosts(self) -> "Topology":
        if self.ranks_per_host is not None and self.ranks % self.ranks_per_host:
            raise ValueError(f"{self.ranks} ranks do not fill hosts of {self.ranks_per_host} ranks")
        return self

    @property
    def hosts(self) -> int:
        return self.ranks // (self.ranks_per_host or self.ranks)

    def ranks_of(self, host: int) -> tuple[int, ...]:
        """Ranks of a host.

        Raises:
            InputError: there is no such host.

        >>> Topology(ranks=4, ranks_per_host=2).ranks_of(1)
        (2, 3)
        """
        if not 0 <= host < self.hosts:
            raise InputError(f"there is no host {host}", expected=f"0 to {self.hosts - 1}")
        size = self.ranks_per_host or self.ranks
        return tuple(range(host * size, (host + 1) * size))


class Shard(Settings):
    """A rectangle of a table on a rank: rows [a, b) and columns [c, d)."""

    rank: int = Field(ge=0)
    rows: Range
    columns: Range

    @model_validator(mode="after")
    def _not_empty(self) -> "Shard":
        for name, (start, stop) in (("rows", self.rows), ("columns", self.columns)):
            if not 0 <= start < stop:
                raise ValueError(f"{name} [{start}, {stop}) of a shard are not a range with something in it")
        return self

    @property
    def num_rows(self) -> int:
        return self.rows[1] - self.rows[0]

    @property
    def dim(self) -> int:
        return self.columns[1] - self.columns[0]


class Placement(Settings):
    """The shards of one table: its columns are cut into blocks, and each block at rows of its own.

    Args:
        rows, dim: of the whole table.
        shards: that tile it, each cell once; none where it is replicated.
        replicated: every rank holds all of it.

    Example:
        >>> half = {"rows": (0, 5), "columns": (0, 4), "rank": 0}
        >>> Placement.parse({"rows": 10, "dim": 4, "shards": [half]}, "plan.json")
        Traceback (most recent call last):
        recfold.spec.errors.InputError: plan.json: Placement: rows [5, 10) of columns [0, 4) are on no rank
    """

    rows: int = Field(gt=0)
    dim: int = Field(gt=0)
    shards: tuple[Shard, ...] = ()
    replicated: bool = False

    @model_validator(mode="after")
    def _tiled(self) -> "Placement":
        if self.replicated:
            if self.shards:
                raise ValueError("a replicated table has no shards")
            return self
        blocks: dict[Range, list[Range]] = {}
        for shard in self.shards:
            blocks.setdefault(shard.columns, []).append(shard.rows)
        _check_tiles(sorted(blocks), self.dim, "columns {}")
        for columns, rows in blocks.items():
            _check_tiles(sorted(rows), self.rows, f"rows {{}} of columns {_shown(columns)}")
        return self

    @property
    def kind(self) -> PlacementKind:
        """What it is called; `grid` where both rows and columns are cut."""
        if self.replicated:
            return "replicated"
        by_rows, by_columns = len({s.rows for s in self.shards}) > 1, len({s.columns for s in self.shards}) > 1
        if by_rows and by_columns:
            return "grid"
        return "row_wise" if by_rows else "column_wise" if by_columns else "table_wise"

    def shards_of(self, rank: int) -> tuple[Shard, ...]:
        """What a rank holds; all of a replicated table."""
        if self.replicated:
            return (Shard(rank=rank, rows=(0, self.rows), columns=(0, self.dim)),)
        return tuple(shard for shard in self.shards if shard.rank == rank)

    def blocks(self) -> tuple[tuple[Shard, ...], ...]:
        """Shards of each column block in the order of their rows, the blocks in the order of their columns."""
        ordered = sorted(self.shards, key=lambda shard: (shard.columns, shard.rows))
        return tuple(tuple(block) for _, block in itertools.groupby(ordered, key=lambda shard: shard.columns))


class Plan(Settings):
    """Every table's shards.

    Args:
        topology: ranks that it is made for.
        tables: table -> its placement.

    Example:
        >>> plan = Plan(
        ...     topology=Topology(ranks=2),
        ...     tables={"item": row_wise(10, 4, ranks=(0, 1)), "user": table_wise(5, 4, rank=1)},
        ... )
        >>> [(shard.rank, shard.rows) for shard in plan.tables["item"].shards]
        [(0, (0, 5)), (1, (5, 10))]
        >>> Plan.from_json(plan.to_json()) == plan
        True
    """

    topology: Topology
    tables: dict[str, Placement]

    @model_validator(mode="after")
    def _ranks_exist(self) -> "Plan":
        for name, placement in self.tables.items():
            for shard in placement.shards:
                if shard.rank >= self.topology.ranks:
                    raise ValueError(
                        f"table {name!r} has a shard on rank {shard.rank}, but there are {self.topology.ranks} ranks"
                    )
        return self

    @property
    def ranks(self) -> int:
        return self.topology.ranks

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "plan.json") -> Self:
        """Raises:
        InputError: not JSON, an unknown key, or shards that do not tile their table.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is not JSON", got=str(error), todo="write it with `recfold plan`") from None
        return cls.parse(data, where)

    def check_tables(self, sizes: Mapping[str, tuple[int, int]], ranks: int) -> None:
        """Is it a plan of these tables on so many ranks?

        Args:
            sizes: table -> (rows, dim).
        Raises:
            InputError: other tables, sizes or number of ranks.
        """
        if self.ranks != ranks:
            raise InputError(
                f"the plan is for {self.ranks} ranks", got=f"{ranks}", todo="make one for these: recfold plan"
            )
        missing, extra = sorted(sizes.keys() - self.tables.keys()), sorted(self.tables.keys() - sizes.keys())
        if missing or extra:
            raise InputError(
                f"the plan does not place table {missing[0]!r}"
                if missing
                else f"the plan places unknown table {extra[0]!r}",
                expected=f"tables {', '.join(sorted(sizes))}",
            )
        for name, (rows, dim) in sizes.items():
            placement = self.tables[name]
            if (placement.rows, placement.dim) != (rows, dim):
                raise InputError(
                    f"the plan does not fit table {name!r}",
                    got=f"{placement.rows} rows of {placement.dim}",
                    expected=f"{rows} rows of {dim}",
                )

    def rank_bytes(self, row_bytes: Mapping[str, int]) -> tuple[int, ...]:
        """Bytes of tables and optimizer state on each rank.

        Args:
            row_bytes: table -> bytes of a whole row with what the optimizer keeps of it.
        """
        totals = [0] * self.ranks
        for name, placement in self.tables.items():
            for rank in range(self.ranks):
                for shard in placement.shards_of(rank):
                    totals[rank] += -(-shard.num_rows * shard.dim * row_bytes[name] // placement.dim)
        return tuple(totals)


def table_wise(rows: int, dim: int, *, rank: int) -> Placement:
    """All of a table on one rank."""
    return Placement(rows=rows, dim=dim, shards=(Shard(rank=rank, rows=(0, rows), columns=(0, dim)),))


def row_wise(rows: int, dim: int, *, ranks: Sequence[int]) -> Placement:
    """Equally many rows on each rank, up to one.

    Raises:
        InputError: fewer rows than ranks.
    """
    return Placement(
        rows=rows,
        dim=dim,
        shards=tuple(
            Shard(rank=rank, rows=own, columns=(0, dim))
            for rank, own in zip(ranks, _cut(rows, len(ranks), "rows"), strict=True)
        ),
    )


def column_wise(rows: int, dim: int, *, ranks: Sequence[int], multiple: int = 1) -> Placement:
    """Equally many columns on each rank, up to `multiple`.

    Args:
        multiple: widths are multiples of it, where the dim is (4 lets FBGEMM's CPU op serve).
    Raises:
        InputError: fewer such columns than ranks, or a dim that is not a multiple.
    """
    if dim % multiple:
        raise InputError(f"{dim} columns cannot be cut at multiples of {multiple}")
    cuts = _cut(dim // multiple, len(ranks), f"columns in units of {multiple}" if multiple > 1 else "columns")
    return Placement(
        rows=rows,
        dim=dim,
        shards=tuple(
            Shard(rank=rank, rows=(0, rows), columns=(start * multiple, stop * multiple))
            for rank, (start, stop) in zip(ranks, cuts, strict=True)
        ),
    )


def replicated(rows: int, dim: int) -> Placement:
    """All of a table on every rank."""
    return Placement(rows=rows, dim=dim, replicated=True)


def twrw(rows: int, dim: int, *, topology: Topology, host: int) -> Placement:
    """A table on one host, cut by rows over its ranks."""
    return row_wise(rows, dim, ranks=topology.ranks_of(host))


def twcw(rows: int, dim: int, *, topology: Topology, host: int, multiple: int = 1) -> Placement:
    """A table on one host, cut by columns over its ranks."""
    return column_wise(rows, dim, ranks=topology.ranks_of(host), multiple=multiple)


def _cut(length: int, parts: int, what: str) -> list[Range]:
    if not 0 < parts <= length:
        raise InputError(f"cannot cut {length} {what} into {parts} parts", todo="use fewer ranks")
    bounds = [length * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(bounds))


def _check_tiles(ranges: Sequence[Range], length: int, what: str) -> None:
    """Sorted ranges follow one another from 0 to `length`."""
    reached = 0
    for start, stop in ranges:
        if start > reached:
            raise ValueError(f"{what.format(_shown((reached, start)))} are on no rank")
        if start < reached:
            raise ValueError(f"{what.format(_shown((start, min(stop, reached))))} are held twice")
        reached = stop
    if reached < length:
        raise ValueError(f"{what.format(_shown((reached, length)))} are on no rank")
    if reached > length:
        raise ValueError(f"{what.format(_shown((length, reached)))} are outside the table")


def _shown(span: Range) -> str:
    return f"[{span[0]}, {span[1]})"
