"""The reader's peers: an ordinary Parquet file to transformed batches, one thread, a batch at a time.

They read what `recfold synth` writes: lists of integers, dense values and vectors, in which nothing is null.

Legend: B samples of a batch, F features, V ids in all their lists, U distinct samples of a group.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recfold.batch import Batch, FoldIndex, Group, InverseKeyedJaggedTensor, KeyedJaggedTensor
from recfold.spec import SAMPLE_GROUP, Schema
from recfold.transform import Lists, apply, buffer_of, windows_of

_KEYS = ("request", "session", "user", "candidate", "position", "time")
_LIST_KINDS = ("ids", "sequence")

PeerReader = Callable[[Path, Schema, int], Iterator[Batch]]


def read_kjt(path: Path, schema: Schema, batch_size: int) -> Iterator[Batch]:
    """Every sample's lists in one KJT, each transformed for every sample."""
    names = tuple(schema.features)
    for rows in _rows(path, schema, batch_size):
        yield _batch(rows, schema, {SAMPLE_GROUP: _plain_group(rows, schema, names)})


def read_hashed(path: Path, schema: Schema, batch_size: int) -> Iterator[Batch]:
    """The lists of each group folded by hashing them, batch by batch; transforms run once per distinct list."""
    for rows in _rows(path, schema, batch_size):
        groups = {}
        for name in (*schema.groups, SAMPLE_GROUP):
            features = schema.features_of(name)
            if features:
                make = _plain_group if name == SAMPLE_GROUP else _hashed_group
                groups[name] = make(rows, schema, features)
        yield _batch(rows, schema, groups)


def _rows(path: Path, schema: Schema, batch_size: int) -> Iterator[pa.RecordBatch]:
    """Batches of the columns that are needed, in the order of the file; the last one may be shorter."""
    columns = [column for key in _KEYS if (column := getattr(schema.keys, key)) is not None]
    columns += [spec.column or name for name, spec in schema.features.items()]
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size, columns=[*columns, *schema.labels], use_threads=False)


def _batch(rows: pa.RecordBatch, schema: Schema, groups: dict[str, Group]) -> Batch:
    labels = [rows.column(label).to_numpy() for label in schema.labels]
    keys = {key: column for key in _KEYS if (column := getattr(schema.keys, key)) is not None}
    return Batch(
        groups=groups,
        labels=torch.from_numpy(np.stack(labels, axis=1)),
        label_names=tuple(schema.labels),
        keys={key: torch.from_numpy(rows.column(column).to_numpy().astype(np.int64)) for key, column in keys.items()},
    )


def _plain_group(rows: pa.RecordBatch, schema: Schema, features: Sequence[str]) -> Group:
    """Features under the identity index."""
    done = {name: apply(_lists(rows, schema, name), schema.features[name].transforms) for name in features}
    lists = [name for name in features if schema.features[name].kind in _LIST_KINDS]
    dense = [name for name in features if schema.features[name].kind not in _LIST_KINDS]
    values, offsets = _flat([done[name] for name in lists])
    kjt = KeyedJaggedTensor(lists, values, offsets, validate=False) if lists else None
    return Group(
        FoldIndex.identity(rows.num_rows),
        lists=InverseKeyedJaggedTensor.plain(kjt) if kjt is not None else None,
        dense=_side_by_side(done, schema, dense) if dense else None,
        dense_keys=tuple(dense),
        dense_widths=tuple(_width(schema, name) for name in dense),
    )


def _hashed_group(rows: pa.RecordBatch, schema: Schema, features: Sequence[str]) -> Group:
    """Features of one group: raw lists folded by `from_kjt`, then the distinct ones transformed.

    Dense values and vectors are folded with them, as lists of their bits.
    """
    dense = tuple(name for name in features if schema.features[name].kind not in _LIST_KINDS)
    names = (*(name for name in features if name not in dense), *dense)
    raw = [_bits(_lists(rows, schema, name)) if name in dense else _lists(rows, schema, name) for name in names]
    values, offsets = _flat(raw)
    folded = InverseKeyedJaggedTensor.from_kjt(KeyedJaggedTensor(names, values, offsets, validate=False))
    distinct = {}
    for name in names:
        values, offsets, _ = folded.bags(name)
        bounds, flat = offsets.numpy(), values.numpy()
        flat = flat.astype(np.int32, copy=False).view(np.float32) if name in dense else flat
        lists = Lists(flat, None, None, bounds[:-1], np.diff(bounds))
        distinct[name] = apply(lists, schema.features[name].transforms)
    values, offsets = _flat([distinct[name] for name in names if name not in dense])
    keys = tuple(name for name in names if name not in dense)
    return Group(
        folded.index,
        lists=InverseKeyedJaggedTensor(keys, values, offsets, folded.index, validate=False) if keys else None,
        dense=_side_by_side(distinct, schema, dense) if dense else None,
        dense_keys=dense,
        dense_widths=tuple(_width(schema, name) for name in dense),
    )


def _lists(rows: pa.RecordBatch, schema: Schema, name: str) -> Lists:
    """A column's lists as windows of its own buffer; a scalar is a list of one."""
    column = rows.column(schema.features[name].column or name)
    if not pa.types.is_nested(column.type):
        values, valid = buffer_of(column)
        return Lists(values, valid, None, np.arange(len(values)), np.ones(len(values), dtype=np.int64))
    child, start, length, _ = windows_of(column)
    first, last = (int(start[0]), int(start[-1] + length[-1])) if len(start) else (0, 0)
    values, valid = buffer_of(child.slice(first, last - first))
    return Lists(values, valid, None, start - first, length)


def _bits(lists: Lists) -> Lists:
    """The same with float32 values as int32 of the same bits."""
    return replace(lists, values=lists.values.astype(np.float32, copy=False).view(np.int32))


def _flat(columns: Sequence[Lists]) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature-major values [V] and offsets int64 [F * B + 1] of the lists of all features."""
    packed = [lists.packed() for lists in columns]
    offsets = np.zeros(sum(lists.num_lists for lists in packed) + 1, dtype=np.int64)
    if packed:
        np.cumsum(np.concatenate([lists.length for lists in packed]), out=offsets[1:])
    values = np.concatenate([lists.values for lists in packed]) if packed else np.empty(0, dtype=np.int64)
    return torch.from_numpy(values), torch.from_numpy(offsets)


def _side_by_side(columns: Mapping[str, Lists], schema: Schema, features: Sequence[str]) -> torch.Tensor:
    """Transformed dense values and vectors: float32 [rows, W]; null counts as 0."""
    widths = [_width(schema, name) for name in features]
    num_rows = columns[features[0]].num_lists
    out = np.empty((num_rows, sum(widths)), dtype=np.float32)
    first = 0
    for name, width in zip(features, widths, strict=True):
        lists = columns[name]
        values = lists.values if lists.valid is None else np.where(lists.valid, lists.values, 0)
        out[:, first : first + width] = values.reshape(num_rows, width)
        first += width
    return torch.from_numpy(out)


def _width(schema: Schema, name: str) -> int:
    return schema.features[name].width or 1
