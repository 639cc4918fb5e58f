"""What changes where several ranks train one model: the only file that knows both the model and how it is spread.

Tables: every rank has a copy (`ReplicatedTables`). The dense part is whole on every rank; its gradients are summed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from recfold.checkpoint import Piece
from recfold.embed import EmbeddingTables
from recfold.spec import InputError
from recfold.train.assemble import MakeTables, Tables
from recfold.train.gradients import GradientSums
from recfold.train.ranks import Ranks
from recfold.train.replicated import ReplicatedTables


@dataclass(frozen=True)
class Parallel:
    """How a learner is spread over ranks.

    Args:
        ranks: over which.
        make_tables: builds the tables of this rank.
    """

    ranks: Ranks
    make_tables: MakeTables

    def over_ranks(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
        """Spread the dense part.

        Args:
            parameters: of the model, those that are trained.
        Returns:
            What is called after each backward: it makes every gradient that of all ranks.
        Raises:
            InputError: the model has a module whose result depends on the whole batch of all ranks.
        """
        if self.ranks.size == 1:
            return _nothing
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                raise InputError(
                    f"module {name!r} normalises over the batch of one rank", todo="train this model on one rank"
                )
        return GradientSums(parameters, self.ranks).finish

    def saved_tables(self, tables: Tables) -> dict[str, Any]:
        """What this rank saves: whole tensors where one process has them, else `Piece`s."""
        if self.ranks.size == 1:
            return dict(tables.state())
        # every rank has all of it: each saves every so many of them
        state = list(tables.state().items())
        own = state[self.ranks.rank :: self.ranks.size]
        return {name: Piece(tensor, tuple(tensor.shape), (0,) * tensor.dim()) for name, tensor in own}

    def load_tables(self, tables: Tables, saved: Mapping[str, Tensor]) -> None:
        """Copy in what any number of ranks has saved.

        Args:
            saved: tensors, or the `StoredTensors` of a checkpoint.
        Raises:
            InputError: other tables, another update rule, shapes or dtypes.
        """
        tables.load_state(dict(saved))


def parallelize(ranks: Ranks) -> Parallel:
    """How a learner is spread over `ranks`."""
    if ranks.size == 1:
        return Parallel(ranks, EmbeddingTables)
    return Parallel(ranks, partial(ReplicatedTables, ranks=ranks))


def _nothing() -> None:
    pass
