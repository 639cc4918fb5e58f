"""Embedding tables as plain files that need nothing of recfold: Parquet or safetensors, read a part at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash
from torch import Tensor

from recfold.checkpoint.pieces import StoredTensors
from recfold.checkpoint.store import save_tensors
from recfold.spec import unknown

ROWS_AT_ONCE = 1 << 18


def export_table(saved: Mapping[str, Tensor], table: str, folder: Path, kind: str) -> dict[str, Any]:
    """Write one table's weights.

    Args:
        saved: part `tables` of a checkpoint.
        kind: `parquet` (columns `row` int64 and `vector`, a list of dim floats; half precisions become float32) or
            `safetensors` (one tensor `weight` [rows, dim]).
    Returns:
        What a manifest says of it: file, rows, dim, dtype, xxh64.
    Raises:
        InputError: an unknown kind.
        OSError: the disk refuses.
    """
    if kind not in WRITERS:
        raise unknown("kind of table file", kind, WRITERS)
    name = f"{table}.weight"
    shape, read = _source(saved, name)
    path = folder / f"{quote(table, safe='')}.{kind}"
    dtype = WRITERS[kind](path, shape, read)
    digest = xxhash.xxh64()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    said = {"file": f"{folder.name}/{path.name}", "rows": shape[0], "dim": shape[1], "dtype": dtype}
    return {**said, "xxh64": digest.hexdigest()}


def table_names(saved: Mapping[str, Tensor]) -> list[str]:
    """Tables of part `tables` of a checkpoint.

    >>> table_names({"a.weight": torch.zeros(1, 1), "a.sum": torch.zeros(1)})
    ['a']
    """
    return [name.removesuffix(".weight") for name in saved if name.endswith(".weight")]


ReadRows = Callable[[int, int], Tensor]


def _source(saved: Mapping[str, Tensor], name: str) -> tuple[tuple[int, int], ReadRows]:
    """Shape of a weight, and what reads its rows [start, stop)."""
    if isinstance(saved, StoredTensors):
        stored = saved.stored[name]
        rows, dim = stored.shape
        return (rows, dim), lambda start, stop: stored.box((start, 0), (stop - start, dim))
    weight = saved[name]
    return (weight.shape[0], weight.shape[1]), lambda start, stop: weight[start:stop]


def _write_parquet(path: Path, shape: tuple[int, int], read: ReadRows) -> str:
    rows, dim = shape
    first = read(0, min(rows, 1))
    wide = torch.float64 if first.dtype == torch.float64 else torch.float32
    kind = pa.float64() if wide == torch.float64 else pa.float32()
    columns = pa.schema([("row", pa.int64()), ("vector", pa.list_(kind, dim))])
    with pq.ParquetWriter(path, columns) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, rows)
            values = pa.array(read(start, stop).to(wide).reshape(-1).numpy())
            vectors = pa.FixedSizeListArray.from_arrays(values, dim)
            writer.write_table(pa.table([pa.array(np.arange(start, stop)), vectors], schema=columns))
    return str(wide).removeprefix("torch.")


def _write_safetensors(path: Path, shape: tuple[int, int], read: ReadRows) -> str:
    weight = read(0, shape[0]).contiguous()
    save_tensors({"weight": weight.clone()}, path)
    return str(weight.dtype).removeprefix("torch.")


WRITERS: dict[str, Callable[[Path, tuple[int, int], ReadRows], str]] = {
    "parquet": _write_parquet,
    "safetensors": _write_safetensors,
}
