"""Scores of a whole split, as arrays: what evaluation and prediction share."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recfold.batch import Batch
from recfold.reader import Reader, ReaderSettings
from recfold.spec import InputError, Schema, xxh64_strings
from recfold.table import FoldedTable, sample_keys
from recfold.train.learner import Learner, resolve_device
from recfold.train.loss import check_labels
from recfold.train.popularity import Seen
from recfold.train.progress import TrainProgress, silent
from recfold.train.ranks import Ranks
from recfold.train.settings import RunSettings


@dataclass(frozen=True)
class Scored:
    """N samples in time order: logits and labels float64 [N, L], weights [N] or None, keys int64 [N]."""

    logits: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    keys: dict[str, np.ndarray]


def reader_of(
    table: FoldedTable,
    split: str,
    schema: Schema,
    settings: RunSettings,
    *,
    order: str,
    ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
) -> Reader:
    """The reader of a split with a run's batch size and read-ahead, of one rank."""
    train, ahead = settings.train, settings.reader
    options = ahead.model_dump() | {"batch_size": train.batch_size, "order": order, "seed": train.seed}
    pin_memory = resolve_device(train.device).type == "cuda"
    own = ReaderSettings(**options, pin_memory=pin_memory)
    return Reader(table, split, own, schema=schema, rank=ranks.rank, world_size=ranks.size)


def ids_per_list(table: FoldedTable, schema: Schema, settings: RunSettings) -> dict[str, float]:
    """Mean ids of a distinct list of each id feature, in the first batch of the train split; the same on every rank."""
    if "train" not in table.splits():
        return {}
    ahead = settings.reader.model_copy(update={"workers": 0})
    (first, *_) = first_batches(table, schema, settings.model_copy(update={"reader": ahead}), 1)
    found = {}
    for own in (group.lists for group in first.groups.values() if group.lists is not None):
        for key in own.keys:
            length_U = own.lists(key)[2]
            found[key] = float(length_U.double().mean()) if len(length_U) else 0.0
    return found


def first_batches(table: FoldedTable, schema: Schema, settings: RunSettings, most: int) -> list[Batch]:
    """The first batches of the train split in the run's order, at most so many; the last of the split may be short.

    Labels and weights are as they are stored: whoever trains on them checks them.
    """
    with reader_of(table, "train", schema, settings, order=settings.train.order) as reader:
        return list(itertools.islice(reader, most))


def scored_batches(
    learner: Learner,
    table: FoldedTable,
    split: str,
    schema: Schema,
    settings: RunSettings,
    progress: TrainProgress = silent,
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Every batch of a split in time order with its logits [B, L] on the CPU; with several ranks those of this one.

    Raises:
        InputError: the table has no such split, or no samples in it.
    """
    if split not in table.splits():
        raise InputError(f"table {table.path} has no {split} samples", expected=f"one of {', '.join(table.splits())}")
    reader = reader_of(table, split, schema, settings, order="time", ranks=learner.ranks)
    total, done = reader.num_samples, 0
    try:
        for batch in reader.lockstep():
            yield batch, learner.score(batch).cpu()
            done += batch.num_samples
            if batch.num_samples:
                progress(f"score {split}", done, total)
    finally:
        reader.close()


def score(
    learner: Learner,
    table: FoldedTable,
    split: str,
    schema: Schema,
    settings: RunSettings,
    progress: TrainProgress = silent,
) -> Scored | None:
    """Score a whole split; see `scored_batches`. Several ranks each score a share, and the first gets all of them.

    Returns:
        The samples in time order; None on other ranks than the first.

    Raises:
        InputError: also where a label is null or outside [0, 1].
    """
    logits, batches = [], []
    for batch, logits_BL in scored_batches(learner, table, split, schema, settings, progress):
        check_labels(batch)
        logits.append(logits_BL.to(torch.float64))
        batches.append((batch.labels, batch.weight, batch.keys))
    weights = [weight for _, weight, _ in batches if weight is not None]
    keys = batches[0][2] if batches else {}
    arrays = {
        "logits": torch.cat(logits).numpy(),
        "labels": torch.cat([labels for labels, _, _ in batches]).to(torch.float64).numpy(),
        **({"weights": torch.cat(weights).to(torch.float64).numpy()} if weights else {}),
        **{f"key.{name}": torch.cat([own[name] for _, _, own in batches]).numpy() for name in keys},
    }
    whole = in_order(arrays, table, split, schema, settings, learner.ranks)
    if whole is None:
        return None
    found = {name.removeprefix("key."): array for name, array in whole.items() if name.startswith("key.")}
    return Scored(whole["logits"], whole["labels"], whole.get("weights"), found)


def in_order(
    arrays: dict[str, np.ndarray],
    table: FoldedTable,
    split: str,
    schema: Schema,
    settings: RunSettings,
    ranks: Ranks,
) -> dict[str, np.ndarray] | None:
    """What every rank has made of its share of a split, one entry a sample, in the order of one process.

    Returns:
        The arrays of all ranks on the first one; None on the others.
    """
    if ranks.size == 1:
        return arrays
    with reader_of(table, split, schema, settings, order="time", ranks=ranks) as reader:
        parts = ranks.gather_arrays({**arrays, "place": reader.places()})
    if parts is None:
        return None
    order = np.argsort(np.concatenate([part["place"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in arrays}


def key_rows(table: FoldedTable, split: str, wanted: Collection[str]) -> Iterator[pa.Table]:
    """Keys and labels of every sample of a split, a table per row group; no feature is read.

    Args:
        wanted: which of request, candidate, position, session, user, time, weight and `label.<name>`; those that the
            table has are given.
    """
    for part in table.parts(split):
        groups = range(part.num_row_groups)
        stored = pq.read_schema(part.path).names
        columns = ["n", *(name for name in stored if name.removeprefix("sample.") in wanted)]
        for i in groups:
            yield sample_keys(part.row_group(i, columns))


def seen_in(table: FoldedTable, split: str, label: str) -> Seen:
    """The samples of a split as the popularity baseline sees them."""
    columns: dict[str, list[np.ndarray]] = {}
    for rows in key_rows(table, split, ("candidate", "time", "weight", f"label.{label}")):
        for name in rows.column_names:
            values = key_bits(rows[name]) if name in ("candidate", "time") else rows[name].to_numpy()
            columns.setdefault(name, []).append(values)
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    labels = whole[f"label.{label}"].astype(np.float64)
    weights = whole.get("weight", np.ones(len(labels))).astype(np.float64)
    return Seen(whole["candidate"], whole.get("time"), labels, weights)


def key_bits(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Keys as batches carry them: integers as they are, strings as the bits of xxh64; int64.

    >>> key_bits(pa.array([7, 8], pa.int32())).tolist()
    [7, 8]
    """
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values.cast(pa.int64()).to_numpy()
    encoded = values.dictionary_encode()
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    if not chunks:
        return np.empty(0, np.int64)
    bits = [xxh64_strings(chunk.dictionary.to_pylist()).view(np.int64)[chunk.indices.to_numpy()] for chunk in chunks]
    return np.concatenate(bits)
