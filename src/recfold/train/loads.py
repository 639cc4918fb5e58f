"""What a step asks of each embedding table, measured on the first batches of a run: what plans are rated by."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recfold.batch import Batch
from recfold.embed import Bags
from recfold.model import model_weights
from recfold.plan.cost.draw import access_shares
from recfold.plan.loads import times
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.spec import InputError, Read, Schema
from recfold.table import FoldedTable
from recfold.train.assemble import bags_of, lists_of, table_sizes, tables_read, weights_name
from recfold.train.run import table_of
from recfold.train.scores import first_batches
from recfold.train.settings import RunSettings

STEPS = 3
MOST_BATCHES = 16
"""A step of more ranks is put together from so many batches, and scaled."""


def loads_of(
    table: FoldedTable | Path | str,
    schema: Schema,
    settings: RunSettings,
    *,
    ranks: int = 1,
    batch_size: int | None = None,
    steps: int = STEPS,
) -> tuple[TableLoad, ...]:
    """Loads of the tables that a run's model reads.

    A list is counted once per rank and step, however many samples share it; a sequence's ids are lists of one, once per
    merged position.

    Args:
        table: a folded table.
        schema: an effective schema (`run_schema`).
        settings: of the run: model, tables, order and batch size.
        ranks: of a step; each has a batch.
        batch_size: samples of a rank's batch, instead of the settings'.
        steps: that are averaged, where the table has so many.
    Returns:
        One load a table, in the order of `table_sizes`.
    Raises:
        InputError: no training samples, or tables that the model cannot read.
    """
    if batch_size is not None:
        train = settings.train.updated({"batch_size": batch_size}, "batch_size")
        settings = settings.model_copy(update={"train": train})
    own = settings.model_copy(update={"reader": settings.reader.updated({"workers": 0}, "reader")})
    together = min(ranks, MOST_BATCHES)
    batches = first_batches(table_of(table), schema, own, together * max(min(steps, MOST_BATCHES // together), 1))
    full = [batch for batch in batches if batch.num_samples == settings.train.batch_size] or batches[:1]
    if not full or full[0].num_samples == 0:
        raise InputError("the table has no training samples to measure", todo="fold logs that have some")
    together = min(together, len(full))
    starts = range(0, len(full) - together + 1, together)
    vectors, weights = tables_read(schema, settings.model.name)[1:]
    weighed = {weights_name(feature): feature for feature, _ in model_weights(settings.model.name, schema)}
    found = []
    for name, size in table_sizes(schema, settings).items():
        reads = [read for read in (*vectors, *weights) if read.table == name]
        parts = [_load(reads, weighed, full[start : start + together], size.rows) for start in starts]
        lists, lookups = (float(np.mean([part[place] for part in parts])) for place in range(2))
        bins = np.mean([part[2] for part in parts], axis=0)
        accesses = tuple((bins / bins.sum() if bins.sum() else bins).tolist())
        load = TableLoad(name, size.rows, size.dim, size.row_bytes, lists, lookups, accesses)
        found.append(times(load, ranks / together))
    return tuple(found)


def _load(
    reads: Sequence[Read], weighed: Mapping[str, str], batches: Sequence[Batch], rows: int
) -> tuple[float, float, np.ndarray]:
    """Lists, lookups, and lookups by bin of one step of one table.

    Args:
        weighed: name of a read of first-order weights -> its feature.
    """
    counts = np.zeros(rows, dtype=np.int64)
    lists = 0
    for batch in batches:
        held = lists_of(batch)
        for read in reads:
            bags: Bags = bags_of(weighed.get(read.feature, read.feature), read.mode, held)
            counts += np.bincount(bags.values.cpu().numpy(), minlength=rows)
            lists += bags.num_bags(read.mode)
    lookups = int(counts.sum())
    return lists, lookups, np.array(access_shares(counts[counts > 0]) if lookups else [0.0] * NUM_BINS) * lookups
