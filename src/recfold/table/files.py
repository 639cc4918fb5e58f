"""Files of a folded table: Parquet with row groups sized in samples, a checksum each, and an atomic finish."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from recfold.spec import InputError
from recfold.table.manifest import MANIFEST, FileEntry, Manifest

Progress = Callable[[str, int, int | None], None]
"""Called as (what, done, total); total is None where it is not known."""

ENCODINGS = ("DICTIONARY", "PLAIN", "BYTE_STREAM_SPLIT")
Encodings = dict[str, str]
"""Parquet column path -> one of ENCODINGS."""

ZSTD_LEVEL = 3


def checksum(path: Path) -> str:
    """xxh64 of a file's bytes as 16 hex digits."""
    digest = xxhash.xxh64()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_parquet(path: Path, table: pa.Table, bounds: Sequence[int], encodings: Encodings | None = None) -> FileEntry:
    """Write one file.

    Args:
        bounds: row numbers at which row groups start and end: 0, ..., num_rows.
        encodings: of the columns, by Parquet path; dictionary where not said.
    Returns:
        the entry for the manifest; its path is the file's own name.
    """
    with pq.ParquetWriter(path, table.schema, **_options(table.schema, encodings or {})) as writer:
        for begin, end in itertools.pairwise(bounds):
            writer.write_table(table.slice(begin, end - begin), row_group_size=max(end - begin, 1))
    return FileEntry(path=path.name, bytes=path.stat().st_size, rows=table.num_rows, xxh64=checksum(path))


def row_group_bounds(samples_per_row: np.ndarray, row_group_samples: int) -> list[int]:
    """Cut rows into row groups of about `row_group_samples` samples; a row is never cut.

    >>> row_group_bounds(np.array([3, 3, 3, 9, 1]), 6)
    [0, 2, 4, 5]
    """
    if len(samples_per_row) == 0:
        return [0]
    begins = np.cumsum(samples_per_row) - samples_per_row
    group = begins // row_group_samples
    return [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(samples_per_row)]


def choose_encodings(sample: pa.Table) -> Encodings:
    """The smallest of dictionary, plain and byte-stream split for each column, measured on a sample of its rows."""
    sizes: dict[str, dict[str, int]] = {}
    for encoding in ENCODINGS:
        wanted = dict.fromkeys(parquet_paths(sample.schema), encoding)
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, sample.schema, **_options(sample.schema, wanted)) as writer:
            writer.write_table(sample, row_group_size=max(sample.num_rows, 1))
        for path, size in column_bytes(pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata).items():
            sizes.setdefault(path, {})[encoding] = size
    return {path: min(found, key=lambda encoding: found[encoding]) for path, found in sizes.items()}


def column_bytes(metadata: pq.FileMetaData) -> dict[str, int]:
    """Compressed bytes of each leaf column over all row groups, by Parquet path."""
    found: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(row_group.num_columns):
            chunk = row_group.column(column)
            found[chunk.path_in_schema] = found.get(chunk.path_in_schema, 0) + chunk.total_compressed_size
    return found


def parquet_paths(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Parquet path -> element type of each leaf; columns are scalars or lists of lists."""
    found = {}
    for field in schema:
        path, type = field.name, field.type
        while pa.types.is_list(type):
            path, type = f"{path}.list.element", type.value_type
        found[path] = type
    return found


def _options(schema: pa.Schema, encodings: Encodings) -> dict[str, Any]:
    chosen: Encodings = {}
    for path, type in parquet_paths(schema).items():
        wanted = encodings.get(path, "DICTIONARY")
        if wanted == "BYTE_STREAM_SPLIT" and not (pa.types.is_integer(type) or pa.types.is_floating(type)):
            wanted = "PLAIN"
        chosen[path] = wanted
    return {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "use_dictionary": [path for path, encoding in chosen.items() if encoding == "DICTIONARY"],
        "column_encoding": {path: encoding for path, encoding in chosen.items() if encoding != "DICTIONARY"},
        "write_page_checksum": True,
        "write_statistics": False,
        "store_schema": True,
    }


class NewFolder:
    """A folder that is being written: everything goes to a hidden sibling, which takes the name at the end.

    Use as a context manager; leaving it without `finish` removes whatever was written.

    Args:
        out: where the folder will be; must not exist, or be empty.
    Raises:
        InputError: `out` is there already, or its parent cannot be written to.
    """

    def __init__(self, out: Path) -> None:
        check_free(out)
        self.out = out.absolute()
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=f".{self.out.name}.", suffix=".partial", dir=self.out.parent)
        except OSError as error:
            raise InputError(f"cannot write {out}", got=str(error)) from None
        self.path = Path(made)

    def __enter__(self) -> "NewFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def finish(self) -> None:
        """Give the folder its name; what is in it must be complete."""
        self.path.chmod(0o755)
        check_free(self.out)
        self.path.rename(self.out)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, atomically; the last thing that is written to a table."""
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(manifest.to_json(), encoding="utf-8", newline="\n")
    partial.rename(folder / MANIFEST)


def check_free(out: Path) -> None:
    """Raises:
    InputError: `out` is a file, or a folder with something in it.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} is there already", todo="remove it, or write to another folder")
