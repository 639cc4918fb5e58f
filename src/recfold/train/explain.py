"""What a run's model computes on how many rows, on one batch of its training split."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from recfold.batch import Batch, Explanation, Lookup, explain
from recfold.checkpoint import load
from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train.assemble import Assembled, lists_of
from recfold.train.effective import schema_on
from recfold.train.learner import Learner
from recfold.train.run import chosen_checkpoint, open_run, table_of
from recfold.train.scores import reader_of


def explain_run(
    run: Path | str, table: FoldedTable | Path | str | None = None, *, checkpoint: str | None = None
) -> Explanation:
    """Explain a run's model on the first batch of the training split, folding on, in training mode.

    Args:
        table: the folded table; where the run says it lies if not given.
        checkpoint: as for `evaluate`.
    Raises:
        InputError: no run, no checkpoint, no table, or a table without training samples.
    """
    opened = open_run(run)
    data = table_of(opened.trained_on.table if table is None else table)
    if "train" not in data.splits():
        raise InputError(f"table {data.path} has no train samples", expected=f"one of {', '.join(data.splits())}")
    found = chosen_checkpoint(opened, checkpoint)
    train = opened.settings.train.model_copy(update={"fold": "on"})
    ahead = opened.settings.reader.model_copy(update={"workers": 0})
    settings = opened.settings.model_copy(update={"train": train, "reader": ahead})
    schema = schema_on(data.schema, opened.schema)
    learner = Learner(schema, settings)
    learner.load_weights(load(found.path))
    with reader_of(data, "train", schema, settings, order=train.order) as reader:
        batch = learner.prepared(next(iter(reader)))
    learner.model.train()
    explanation = explain(learner.model, learner.assembled.inputs(batch))
    return dataclasses.replace(explanation, lookups=tuple(_lookups(learner.assembled, batch)))


def _lookups(assembled: Assembled, batch: Batch) -> Iterator[Lookup]:
    """Every lookup with its ids: windows of histories that are read row by row share those of merged positions."""
    lists = lists_of(batch)
    for read in assembled.reads:
        feature = assembled.source(read)
        own = lists[feature]
        values, _, length, _ = own.lists(feature)
        used = len(values) if read.mode == "rows" else int(length.sum())
        needed = int(own.index.expanded(length).sum())
        yield Lookup(read.feature, own.index.num_distinct, batch.num_samples, used, needed)
