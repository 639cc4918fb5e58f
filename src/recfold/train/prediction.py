"""Predictions of a run as a Parquet file with the keys that the logs had."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.batch import Batch
from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train.metrics import sigmoid
from recfold.train.progress import TrainProgress, silent
from recfold.train.ranks import current_ranks
from recfold.train.scores import in_order, key_bits, key_rows, scored_batches
from recfold.train.trained import Trained, trained_learner
from recfold.transform import NULL_ID

KEYS = ("request", "candidate", "position", "session", "user", "time")


def predict(
    run: Path | str,
    data: FoldedTable | Path | str,
    out: Path | str,
    *,
    split: str | None = None,
    checkpoint: str | None = None,
    progress: TrainProgress = silent,
) -> Path:
    """Score every sample of a folded table.

    Columns of the file, in this order: split; request, candidate, position, session, user, time, as far as the table
    has them and as they were in the logs (strings stay strings, time is in microseconds UTC; a session that the logs
    did not name has its made-up id); then `score.<label>` for each label in the schema's order, a float32
    probability. Rows follow the sessions' first times inside a split. In a process group every rank calls it and
    scores a share; the first one holds all scores and writes the file.

    Args:
        data: a folded table; fresh logs are folded first, with whatever labels they have: they are not looked at.
        out: the file to write; it appears whole or not at all.
        split: one split; None for all of them.
        checkpoint: as for `evaluate`.
    Returns:
        `out`.
    Raises:
        InputError: as `evaluate`; or `out` cannot be written.
    """
    ranks, out = current_ranks(), Path(out)
    trained = ranks.together(lambda: trained_learner(run, data, checkpoint, ranks))
    assert trained is not None
    batches = _scored(trained, split, progress)
    if ranks.size > 1:
        every = list(batches)  # each rank scores; the first one writes
        if not ranks.is_first:
            return out
        batches = iter(every)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        first = next(batches)
        with pq.ParquetWriter(temporary, first.schema) as writer:
            writer.write_table(first)
            for rows in batches:
                writer.write_table(rows)
        temporary.rename(out)
    except OSError as error:
        raise InputError(f"cannot write {out}", got=str(error)) from None
    finally:
        if temporary.exists():
            temporary.unlink()
    return out


def _scored(trained: Trained, split: str | None, progress: TrainProgress) -> Iterator[pa.Table]:
    table, schema, settings, ranks = trained.table, trained.schema, trained.run.settings, trained.learner.ranks
    labels = tuple(schema.labels)
    if not table.splits():
        raise InputError(f"table {table.path} has no samples")
    for name in table.splits() if split is None else (split,):
        scored = scored_batches(trained.learner, table, name, schema, settings, progress)
        originals = _originals(table, name) if name in table.splits() else {}
        if ranks.size == 1:
            for batch, logits_BL in scored:
                keys = {key: bits.numpy() for key, bits in batch.keys.items()}
                yield _rows(keys, name, originals, logits_BL.double().numpy(), labels)
            continue
        parts = [{"logits": logits_BL.double().numpy(), **_keys(batch)} for batch, logits_BL in scored]
        own = {what: np.concatenate([part[what] for part in parts]) for what in parts[0]}
        whole = in_order(own, table, name, schema, settings, ranks)
        if whole is not None:
            keys = {what.removeprefix("key."): bits for what, bits in whole.items() if what != "logits"}
            yield _rows(keys, name, originals, whole["logits"], labels)


def _keys(batch: Batch) -> dict[str, np.ndarray]:
    return {f"key.{name}": bits.numpy() for name, bits in batch.keys.items()}


def _rows(
    keys: dict[str, np.ndarray],
    split: str,
    originals: dict[str, tuple[np.ndarray, pa.Array]],
    logits: np.ndarray,
    labels: tuple[str, ...],
) -> pa.Table:
    columns: dict[str, pa.Array] = {"split": pa.array([split] * len(logits))}
    for key in KEYS:
        if key in keys:
            bits = keys[key]
            null = bits == NULL_ID
            if key in originals:
                known, values = originals[key]
                columns[key] = values.take(pa.array(np.searchsorted(known, bits), mask=null))
            else:
                columns[key] = pa.array(bits, mask=null)
    for number, label in enumerate(labels):
        columns[f"score.{label}"] = pa.array(sigmoid(logits[:, number]).astype(np.float32))
    return pa.table(columns)


def _originals(table: FoldedTable, split: str) -> dict[str, tuple[np.ndarray, pa.Array]]:
    """String key -> its bits in rising order, and the strings in the same order."""
    found: dict[str, list[pa.Array]] = {}
    for rows in key_rows(table, split, KEYS):
        for name in rows.column_names:
            if _is_string(rows[name].type):
                found.setdefault(name, []).append(rows[name].unique())
    originals = {}
    for name, arrays in found.items():
        values = pa.chunked_array(arrays).unique()
        values = values.filter(values.is_valid())
        bits = key_bits(values)
        order = np.argsort(bits, kind="stable")
        if len(np.unique(bits)) < len(bits):
            raise InputError(f"two values of key {name!r} have the same hash", todo="use integers for this key")
        originals[name] = (bits[order], values.take(pa.array(order)))
    return originals


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
