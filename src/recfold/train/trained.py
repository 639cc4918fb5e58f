"""A learner with the weights of a run's checkpoint, on data that may be another table."""

from dataclasses import dataclass
from pathlib import Path

from recfold.checkpoint import Found, load
from recfold.spec import Schema
from recfold.table import FoldedTable
from recfold.train.effective import schema_on
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks
from recfold.train.run import Run, chosen_checkpoint, kept_plan, open_run, table_of
from recfold.train.scores import ids_per_list


@dataclass(frozen=True)
class Trained:
    """A run's model and the data to use it on.

    Args:
        schema: of the run, on this table.
        checkpoint: where the weights are from.
    """

    run: Run
    table: FoldedTable
    schema: Schema
    checkpoint: Found
    learner: Learner


def trained_learner(
    run: Path | str,
    table: FoldedTable | Path | str,
    checkpoint: str | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
) -> Trained:
    """Open a run and build its model.

    Args:
        checkpoint: `best`, `last`, or None for the best where the run stops early, else the last.
        ranks: who scores together.
    Raises:
        InputError: no run, no complete checkpoint, or a table without the run's features.
    """
    opened, data = open_run(run), table_of(table)
    found = chosen_checkpoint(opened, checkpoint)
    schema = schema_on(data.schema, opened.schema)
    measures = ranks.size > 1 and opened.settings.ranks.partial == "auto"
    measured = ids_per_list(data, schema, opened.settings) if measures else None
    plan = kept_plan(opened.path, ranks.size) if ranks.size > 1 else None
    learner = Learner(schema, opened.settings, plan=plan, ranks=ranks, ids_per_list=measured)
    learner.load_weights(load(found.path, verified=True))
    return Trained(opened, data, schema, found, learner)
