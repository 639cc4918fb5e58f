"""What changes where several ranks train one model: the only file that knows both the model and the plan.

Tables lie as the plan says (`ShardedTables`). The dense part is whole on every rank; its gradients are summed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import Tensor

from recfold.batch import Batch
from recfold.checkpoint import Piece, StoredTensors
from recfold.comm import Wire
from recfold.embed import EmbeddingTables, ShardedTables, ShardState
from recfold.plan import TableSize, search_plan
from recfold.spec import InputError, Plan
from recfold.train.assemble import Assembled, MakeTables, Tables
from recfold.train.batch_norm import Meetings, synchronise
from recfold.train.gradients import GradientSums
from recfold.train.overlap import Overlap
from recfold.train.ranks import Ranks


@dataclass(frozen=True)
class Parallel:
    """How a learner is spread over ranks.

    Args:
        ranks: over which.
        plan: where its tables lie; None for one rank.
        make_tables: builds the tables of this rank.
    """

    ranks: Ranks
    plan: Plan | None
    make_tables: MakeTables

    def over_ranks(self, assembled: Assembled, prepare: Callable[[Batch], Batch]) -> "Spread | None":
        """Spread the dense part, and let it overlap with the tables' exchanges; None on one rank.

        Args:
            assembled: the model and its tables; batch norm of the model is replaced by that over all ranks.
            prepare: makes of a batch what is looked up.
        Raises:
            InputError: the model has a module whose result depends on the whole batch of all ranks and is not known.
        """
        if self.ranks.size == 1:
            return None
        norms = synchronise(assembled.model, self.ranks)
        parameters = [p for p in assembled.model.parameters() if p.requires_grad]
        tables = cast(ShardedTables, assembled.tables)
        return Spread(Overlap(assembled, tables, prepare), GradientSums(parameters, self.ranks), norms, tables.wire)

    def saved_tables(self, tables: Tables) -> dict[str, Any]:
        """What this rank saves: whole tensors where one process has them, else `Piece`s, each box on one rank."""
        if self.plan is None:
            return dict(tables.state())
        saved: dict[str, Any] = {}
        replicated = [name for name, placed in self.plan.tables.items() if placed.replicated]
        for shard in cast(ShardedTables, tables).shards():
            # every rank has all of a replicated table: each saves every so many of them
            if shard.table in replicated and replicated.index(shard.table) % self.ranks.size != self.ranks.rank:
                continue
            placed = self.plan.tables[shard.table]
            for kept, tensor in shard.tensors.items():
                start = (shard.rows[0], shard.columns[0])
                if any(start[tensor.dim() :]):
                    continue  # one number a row, or a table, of which the first shard of a row, or table, tells
                name = f"{shard.table}.{kept}@{start[0]},{start[1]}"
                saved[name] = Piece(tensor, (placed.rows, placed.dim)[: tensor.dim()], start[: tensor.dim()])
        return saved

    def load_tables(self, tables: Tables, saved: Mapping[str, Tensor]) -> None:
        """Copy in what any number of ranks has saved under any plan.

        Args:
            saved: tensors, or the `StoredTensors` of a checkpoint, of which each rank reads what it holds.
        Raises:
            InputError: other tables, another update rule, shapes or dtypes.
        """
        if self.plan is None:
            tables.load_state(dict(saved))
            return
        own = cast(ShardedTables, tables)
        own.load_shards(_boxes(own, self.plan, saved))


@dataclass(frozen=True, eq=False)
class Spread:
    """What a learner on several ranks has beside its model.

    Args:
        overlap: lookups in the tables of all ranks.
        gradients: of the dense part, summed.
        norms: batch norm over all ranks; None where the model has none.
        tables_wire: counts what the tables' exchanges send.
    """

    overlap: Overlap
    gradients: GradientSums
    norms: Meetings | None
    tables_wire: Wire

    @property
    def wires(self) -> tuple[Wire, ...]:
        """Of all that travels."""
        return (self.tables_wire, self.gradients.wire)


def parallelize(
    ranks: Ranks, sizes: Mapping[str, TableSize], plan: Plan | None = None, *, codec: str = "fp32", waves: int = 1
) -> Parallel:
    """How a learner is spread over `ranks`.

    Args:
        sizes: of its tables.
        plan: None for one that is searched for.
        codec: how rows and their gradients travel.
        waves: in how many messages a rank answers another one.
    Raises:
        InputError: a plan of another number of ranks or other tables.
    """
    if plan is not None:
        plan.check_tables({name: (size.rows, size.dim) for name, size in sizes.items()}, ranks.size)
    if ranks.size == 1:
        return Parallel(ranks, None, EmbeddingTables)
    plan = plan or search_plan(sizes, ranks.size)
    return Parallel(ranks, plan, partial(ShardedTables, plan=plan, group=ranks.tables_group, codec=codec, waves=waves))


def _boxes(tables: ShardedTables, plan: Plan, saved: Mapping[str, Tensor]) -> Iterator[ShardState]:
    """Of everything that this rank holds, what was saved."""
    shapes = {name: own.shape for name, own in (saved.stored if isinstance(saved, StoredTensors) else saved).items()}
    for shard in tables.shards():
        placed, found = plan.tables[shard.table], {}
        names = {name for name in shapes if name.rpartition(".")[0] == shard.table}
        for kept, tensor in shard.tensors.items():
            name = f"{shard.table}.{kept}"
            whole = (placed.rows, placed.dim)[: tensor.dim()]
            if name not in names or tuple(shapes[name]) != whole:
                raise InputError(
                    f"the checkpoint does not fit table {shard.table!r}",
                    got=str(tuple(shapes[name])) if name in names else ", ".join(sorted(names)) or "nothing of it",
                    expected=f"{name} of shape {whole}",
                )
            start = (shard.rows[0], shard.columns[0])[: tensor.dim()]
            found[kept] = _box(saved, name, start, tuple(tensor.shape))
        yield ShardState(shard.table, shard.rows, shard.columns, found)


def _box(saved: Mapping[str, Tensor], name: str, start: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    if isinstance(saved, StoredTensors):
        return saved.stored[name].box(start, shape)
    return saved[name][tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))]
