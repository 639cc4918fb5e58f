"""Files of a folded table: Parquet with row groups sized in samples, a checksum each, and an atomic finish."""

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from filelock import FileLock, Timeout

from recfold.spec import InputError
from recfold.table.manifest import MANIFEST, FileEntry, Manifest

Progress = Callable[[str, int, int | None], None]
"""Called as (what, done, total); total is None where it is not known."""

ENCODINGS = ("DICTIONARY", "PLAIN", "BYTE_STREAM_SPLIT")
Encodings = dict[str, str]
"""Parquet column path -> one of ENCODINGS."""

ZSTD_LEVEL = 3
_LOCK = ".lock"


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


def write_parquet_stream(path: Path, tables: Iterable[pa.Table], row_group_rows: int) -> FileEntry:
    """Write one file of tables that come one after the other, at least one; encodings are chosen on the first rows."""
    writer: pq.ParquetWriter | None = None
    num_rows = 0
    try:
        for group in _regrouped(tables, row_group_rows):
            if writer is None:
                writer = pq.ParquetWriter(path, group.schema, **_options(group.schema, choose_encodings(group)))
            writer.write_table(group, row_group_size=max(group.num_rows, 1))
            num_rows += group.num_rows
    finally:
        if writer is not None:
            writer.close()
    return FileEntry(path=path.name, bytes=path.stat().st_size, rows=num_rows, xxh64=checksum(path))


def _regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows, the last one shorter."""
    held: list[pa.Table] = []
    num_held = 0
    for table in tables:
        while num_held + table.num_rows >= rows:
            yield pa.concat_tables([*held, table.slice(0, rows - num_held)])
            table, held, num_held = table.slice(rows - num_held), [], 0
        if table.num_rows:
            held.append(table)
            num_held += table.num_rows
    if held:
        yield pa.concat_tables(held)


def row_group_bounds(samples_per_row: np.ndarray, row_group_samples: int) -> list[int]:
    """Cut rows into row groups of about `row_group_samples` samples; a row is never cut.

    A last group of less than half of that belongs to the one before it.

    >>> row_group_bounds(np.array([3, 3, 3, 9, 1]), 6), row_group_bounds(np.array([3, 3, 3, 9, 3]), 6)
    ([0, 2, 5], [0, 2, 4, 5])
    """
    if len(samples_per_row) == 0:
        return [0]
    begins = np.cumsum(samples_per_row) - samples_per_row
    group = begins // row_group_samples
    cuts = (np.flatnonzero(np.diff(group)) + 1).tolist()
    if cuts and 2 * samples_per_row[cuts[-1] :].sum() < row_group_samples:
        cuts.pop()
    return [0, *cuts, len(samples_per_row)]


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


def column_encodings(metadata: pq.FileMetaData) -> dict[str, str]:
    """How the first row group holds each column, lists taken off its path: dictionary, plain, byte-stream-split, ..."""
    if metadata.num_row_groups == 0:
        return {}
    row_group = metadata.row_group(0)
    chunks = [row_group.column(number) for number in range(row_group.num_columns)]
    return {chunk.path_in_schema.split(".list.")[0]: _encoding_of(chunk.encodings) for chunk in chunks}


def _encoding_of(encodings: Sequence[str]) -> str:
    """The one of the elements: RLE and bit packing are those of list levels, a dictionary's own page is plain."""
    if any(encoding in encodings for encoding in ("RLE_DICTIONARY", "PLAIN_DICTIONARY")):
        return "dictionary"
    rest = [encoding for encoding in encodings if encoding not in ("RLE", "BIT_PACKED")]
    return (rest[0] if rest else encodings[0]).lower().replace("_", "-")


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


class Staging:
    """A folder for what is not finished: one process at a time has it, and what a killed one left can be gone on with.

    Use as a context manager; leaving it removes the folder, unless it is kept.

    Args:
        path: the folder; made where it is not there.
        what: what is being written, for messages.
    Attributes:
        keep: whether Ctrl-C leaves what is in it to a later process.
    Raises:
        InputError: another process has it, or it cannot be made.
    """

    def __init__(self, path: Path, what: Path) -> None:
        self.path = path
        self.keep = False
        self._finished = False
        self._lock = _locked(path, what)

    def entries(self) -> list[Path]:
        """What is in it."""
        return [path for path in self.path.iterdir() if path.name != _LOCK]

    def clear(self) -> None:
        """Remove what is in it."""
        for path in self.entries():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kept = self.keep and kind is not None and issubclass(kind, KeyboardInterrupt)
        if not kept and not self._finished:
            with contextlib.suppress(OSError):
                self.clear()
                (self.path / _LOCK).unlink()  # last: until then nobody else starts here
                self.path.rmdir()
        self._lock.release()


class NewFolder(Staging):
    """A folder that is being written: everything goes to a hidden sibling, which takes the name at the end.

    Args:
        out: where the folder will be; must not exist, or be empty.
    Raises:
        InputError: `out` is there already, another process is writing it, or its parent cannot be written to.
    """

    def __init__(self, out: Path) -> None:
        check_free(out)
        self.out = out.absolute()
        super().__init__(self.out.with_name(f".{self.out.name}.partial"), out)

    def finish(self) -> None:
        """Give the folder its name; what is in it must be complete."""
        check_free(self.out)
        self.path.rename(self.out)  # fails where something came there in the meantime
        self._finished = True
        (self.out / _LOCK).unlink()


def _locked(path: Path, what: Path) -> FileLock:
    """Make a folder and lock it; the system lets the lock go when the process ends, however it ends."""
    lock = FileLock(path / _LOCK, timeout=0)
    try:
        while True:
            path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the other one has removed its folder just now
                lock.acquire()
                if (path / _LOCK).exists():
                    return lock
                lock.release()
    except Timeout:
        raise InputError(
            f"another process is writing {what}", todo="wait until it is done, or write to another folder"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write {what}", got=str(error)) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, atomically; the last thing that is written to a table."""
    write_text(folder / MANIFEST, manifest.to_json())


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, in place of the one that is there."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def check_free(out: Path) -> None:
    """Raises:
    InputError: `out` is a file, or a folder with something in it.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} is there already", todo="remove it, or write to another folder")
