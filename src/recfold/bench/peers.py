"""The peers' files in the working folder, and the proof that they hold the same samples as the folded table."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from recfold.bench.peer_files import SPLITS, split_path, write_peer_files
from recfold.bench.peer_fold import fold_with_polars
from recfold.bench.work import Work
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable, sample_keys
from recfold.table.files import NewFolder

_ROOMS = ("bench", "logs", "spec", "table")


def clustered_files(work: Work) -> Path:
    """The joined table clustered by session, as polars wrote it."""
    logs, schema = work.logs(), work.schema()

    def make(out: Path) -> None:
        with NewFolder(out) as folder:
            fold_with_polars(logs, schema, folder.path)
            folder.finish()

    return work.kept("joined", _ROOMS, make)


def peer_files(work: Work) -> Path:
    """The joined table in both orders and cases."""
    clustered, schema = clustered_files(work), work.schema()

    def make(out: Path) -> None:
        if work.progress is not None:
            work.progress("write the peers' files", 0, None)
        with NewFolder(out) as folder:
            write_peer_files(clustered, schema, folder.path)
            folder.finish()

    return work.kept("peers", _ROOMS, make)


def check_same_samples(table: FoldedTable, clustered: Path, schema: Schema) -> None:
    """Both have the same samples in the same splits, with the same keys and labels.

    Raises:
        InputError: they do not: no figure would mean anything.
    """
    names = [name for name in ("request", "candidate", "session", "user", "time") if getattr(schema.keys, name)]
    columns = {name: getattr(schema.keys, name) for name in names}
    labels = {f"label.{label}": label for label in schema.labels}
    for split in SPLITS:
        ours = pl.concat(_keys(table, split, [*names, *labels])) if split in table.splits() else None
        path = split_path(clustered, split)
        theirs = pl.read_parquet(path, columns=[*columns.values(), *labels.values()]) if path.exists() else None
        if ours is None or theirs is None:
            same = ours is None and theirs is None
        else:
            theirs = theirs.select(pl.col(column).alias(name) for name, column in {**columns, **labels}.items())
            theirs = theirs.cast(ours.schema).sort("request", "candidate", "time")
            same = ours.sort("request", "candidate", "time").equals(theirs)
        if not same:
            raise InputError(f"the peer's {split} samples are not those of the folded table", todo="report this")


def _keys(table: FoldedTable, split: str, names: list[str]) -> Iterator[pl.DataFrame]:
    for part in table.parts(split):
        wanted = {"n", *names, *(f"sample.{name}" for name in names)}
        columns = [column for column in pq.read_schema(part.path).names if column in wanted]
        for number in range(part.num_row_groups):
            keys = sample_keys(part.row_group(number, columns))
            yield pl.DataFrame({name: np.asarray(keys[name].to_numpy()) for name in names}).with_columns(
                pl.col(name).cast(pl.Int64) for name in names if not name.startswith("label.")
            )
