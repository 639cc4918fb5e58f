"""Batches in memory, read from the folded table as `recfold train` reads them."""

from recfold.batch import Batch
from recfold.spec import InputError, Schema
from recfold.spec.transforms import Hash
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.effective import run_schema
from recfold.train.scores import first_batches


def training_schema(table: FoldedTable, settings: RunSettings, table_rows: int | None) -> Schema:
    """The effective schema of a case.

    Args:
        table_rows: at most so many rows an embedding table; ids are hashed to as many.
    """
    schema = run_schema(table.schema, None, settings.tables)
    if table_rows is None:
        return schema
    features = {
        name: feature.model_copy(
            update={
                "transforms": tuple(
                    step.model_copy(update={"rows": min(step.rows, table_rows)}) if isinstance(step, Hash) else step
                    for step in feature.transforms
                )
            }
        )
        for name, feature in schema.features.items()
    }
    tables = {
        name: spec if spec.rows is None else spec.model_copy(update={"rows": min(spec.rows, table_rows)})
        for name, spec in schema.tables.items()
    }
    return schema.model_copy(update={"features": features, "tables": tables})


def read_batches(
    table: FoldedTable, schema: Schema, settings: RunSettings, most: int, batch_size: int | None = None
) -> list[Batch]:
    """The first full batches of the train split, at most so many.

    Args:
        batch_size: instead of the settings' own.
    Raises:
        InputError: the split has less than one batch.
    """
    if batch_size is not None:
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"batch_size": batch_size})})
    wanted = settings.train.batch_size
    found = [batch for batch in first_batches(table, schema, settings, most) if batch.num_samples == wanted]
    if not found:
        raise InputError(
            "there are fewer training samples than one batch",
            got=f"{num_training_samples(table)}",
            expected=f"at least {wanted}",
            todo="give more --samples or a smaller --batch-size",
        )
    return found


def num_training_samples(table: FoldedTable) -> int:
    """Samples of the train split."""
    return sum(part.num_samples for part in table.parts("train"))
