"""An open folded table: its splits, its parts, and the raw columns of their row groups."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.spec import InputError, Schema, unknown
from recfold.table.conform import Columns, type_of_text
from recfold.table.expand import expand_rows
from recfold.table.files import Progress, checksum, column_encodings
from recfold.table.id_codes import IdCoding, change_elements, load_codings, with_element
from recfold.table.lists import one_array
from recfold.table.manifest import FileEntry, Manifest, PartEntry, load_manifest

_MISSING = "is missing, but the manifest names it"


def open_table(path: Path | str) -> "FoldedTable":
    """Open a folded table; only its manifest is read.

    Raises:
        InputError: there is none, it is of a newer format version, or its manifest is damaged.
    """
    return FoldedTable(Path(path), load_manifest(Path(path)))


class FoldedTable:
    """A folded table on disk. Cheap to pickle: files are opened when they are first read.

    Args:
        path: its folder.
        manifest: what is in it.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        types = {name: type_of_text(text) for name, text in manifest.columns.items()}
        self._columns = Columns(types, manifest.log_schema) if types else None
        self._parts: dict[str, tuple[Part, ...]] = {}

    @property
    def schema(self) -> Schema:
        """The schema as the fold resolved it: kinds, groups, types, distinct."""
        return self.manifest.log_schema

    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have samples, train first."""
        return tuple(self.manifest.splits)

    def parts(self, split: str) -> tuple["Part", ...]:
        """The parts of one split, in order; always the same objects, so that their dictionaries are read once.

        Raises:
            InputError: there is no such split.
        """
        if split not in self.manifest.splits:
            raise unknown("split", split, self.manifest.splits)
        if split not in self._parts:
            entry = self.manifest.splits[split]
            shared = _Dictionaries(self.path, entry.dictionaries, self._columns)
            codes = _Codes(self.path, entry.codes, self.schema)
            self._parts[split] = tuple(
                Part(self.path, split, index, part, shared, codes, self._columns)
                for index, part in enumerate(entry.parts)
            )
        return self._parts[split]

    def dictionary_rows(self, split: str, group: str) -> Iterator[pa.Table]:
        """The rows of an item dictionary as its files have them, a row group at a time; nothing where it has no file.

        Raises:
            InputError: a file is missing or damaged.
        """
        for entry in self.manifest.splits[split].dictionaries.get(group, ()):
            path = self.path / entry.path
            with _open_parquet(path, entry, checked=False) as file:
                for index in range(file.metadata.num_row_groups):
                    yield _read(path, partial(file.read_row_group, index, use_threads=False))

    def codings(self, split: str) -> dict[str, IdCoding]:
        """Feature -> how its ids are written in the parts of a split that have codes.

        Raises:
            InputError: the file that says so is missing or damaged.
        """
        return dict(_Codes(self.path, self.manifest.splits[split].codes, self.schema).codings())

    def columns(self, split: str) -> list[str]:
        """Names of the columns of a split's parts; none where it has no parts.

        Raises:
            InputError: the first part is missing or damaged.
        """
        parts = self.parts(split)
        return parts[0].columns() if parts else []

    def file(self, entry: FileEntry) -> Path:
        """Where a file of the table is, once its checksum has been compared.

        Raises:
            InputError: it is missing or damaged.
        """
        path = self.path / entry.path
        problem = _problem(path, entry)
        if problem is not None:
            raise InputError(f"{path} {problem}", todo="copy the table again or fold again")
        return path

    def verify(self, progress: Progress | None = None) -> None:
        """Read every file and compare its checksum, and check the accounting.

        Raises:
            InputError: names the first file that is missing or damaged, and says how many there are.
        """
        files = self.manifest.files()
        bad: list[str] = []
        for done, entry in enumerate(files):
            if progress is not None:
                progress("verify", done, len(files))
            problem = _problem(self.path / entry.path, entry)
            if problem is not None:
                bad.append(f"{self.path / entry.path} {problem}")
        if progress is not None:
            progress("verify", len(files), len(files))
        if bad:
            more = f" (and {len(bad) - 1} more of {len(files)} files)" if len(bad) > 1 else ""
            raise InputError(bad[0] + more, todo="copy the table again or fold again")
        self.manifest.accounting.check()

    def expand(self, split: str | None = None) -> Iterator[pa.Table]:
        """The canonical rows again, one row per sample: a table per row group, units and samples in stored order.

        Args:
            split: one split; all of them where None.
        Raises:
            InputError: no such split, or a damaged file.
        """
        for name in self.splits() if split is None else (split,):
            for part in self.parts(name):
                yield from part.expand(self.manifest)

    def encodings(self) -> dict[str, str]:
        """Column of a part or dictionary -> how Parquet holds its elements; only the files' footers are read.

        Raises:
            InputError: a file is missing or has no footer.
        """
        found: dict[str, set[str]] = {}
        for split in self.manifest.splits.values():
            files = [file for part in split.parts for file in (part.file, *part.dictionaries.values())]
            shared = [file for entries in split.dictionaries.values() for file in entries]
            for file in (*files, *shared):
                path = self.path / file.path
                for column, encoding in column_encodings(_read(path, partial(pq.read_metadata, path))).items():
                    found.setdefault(column, set()).add(encoding)
        return {column: " + ".join(sorted(each)) for column, each in found.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": {}}


class Part:
    """One file of a split and its dictionaries; the unit that a reader opens.

    Attributes:
        split: name of the split.
        index: number of the part in its split.
        num_rows: units (sessions, or what `fold_by` says).
        num_samples: samples in all units.
    """

    def __init__(
        self,
        table: Path,
        split: str,
        index: int,
        entry: PartEntry,
        shared: "_Dictionaries",
        codes: "_Codes",
        columns: Columns | None,
    ) -> None:
        self.split = split
        self.index = index
        self.num_rows = entry.file.rows
        self.num_samples = entry.samples
        self._table = table
        self._entry = entry
        own = {group: (file,) for group, file in entry.dictionaries.items()}
        self._own = _Dictionaries(table, own, columns, key="user")
        self._columns = columns
        self._codes = codes
        self._shared = shared
        self._file: pq.ParquetFile | None = None
        self._checked = False

    @property
    def path(self) -> Path:
        return self._table / self._entry.file.path

    @property
    def num_row_groups(self) -> int:
        """Raises:
        InputError: the file is missing or damaged.
        """
        return self._open().metadata.num_row_groups

    def unit_index(self) -> pa.Table:
        """first_time (int64 µs), n (int32) and row_group (int32) of every unit, in file order.

        Raises:
            InputError: the file is missing or damaged.
        """
        file = self._open()
        rows = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        table = _read(self.path, lambda: file.read(columns=["first_time", "n"], use_threads=False))
        groups = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
        return table.append_column("row_group", pa.array(groups, pa.int32()))

    def row_group(self, i: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The raw columns of one row group, as FORMAT.md describes them.

        Args:
            columns: which; all where None.
        Raises:
            InputError: the file is missing or damaged.
        """
        file = self._open()
        if not 0 <= i < file.metadata.num_row_groups:
            raise ValueError(f"row group {i} of {self.path}: it has {file.metadata.num_row_groups}")
        wanted = list(columns) if columns is not None else self.columns()
        stored = wanted if self._columns is None else self._columns.needed(wanted, file.schema_arrow.names)
        table = _read(self.path, lambda: file.read_row_group(i, columns=stored, use_threads=False))
        table = self._codes.decoded(table, self._entry.coded)
        return table.select(wanted) if self._columns is None else self._columns.conform(table, wanted)

    def columns(self) -> list[str]:
        """Names of the columns that `row_group` gives.

        Raises:
            InputError: the file is missing or damaged.
        """
        return list(self._columns.types) if self._columns is not None else self._open().schema_arrow.names

    def dictionary_groups(self) -> tuple[str, ...]:
        """Names of the dictionary groups, the part's own and the split's."""
        return (*self._own.groups(), *self._shared.groups())

    def dictionary(self, group: str, *, keep: bool = True) -> pa.Table:
        """The rows that a dictionary group refers to: the part's user dictionary or the split's item dictionary.

        Args:
            keep: hold on to it, so that it is read once; otherwise the caller does as it likes.
        Raises:
            InputError: the file is missing or damaged.
            ValueError: no such dictionary group.
        """
        for dictionaries in (self._own, self._shared):
            if group in dictionaries.groups():
                return dictionaries.read(group, keep)
        raise ValueError(str(unknown("dictionary group", group, self.dictionary_groups())))

    def expand(self, manifest: Manifest) -> Iterator[pa.Table]:
        """Canonical rows, one per sample; a table per row group.

        Raises:
            InputError: a file is missing or damaged.
        """
        dictionaries = {group: self.dictionary(group) for group in self.dictionary_groups()}
        for index in range(self.num_row_groups):
            yield expand_rows(self.row_group(index), manifest, dictionaries, self.split)

    def types(self) -> dict[str, pa.DataType]:
        """Name -> type of the columns of the file, codes as the ids that they stand for.

        Raises:
            InputError: the file is missing or damaged.
        """
        return self._codes.types(self._open().schema_arrow, self._entry.coded)

    def close(self) -> None:
        """Close the file; it opens again when it is read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> pq.ParquetFile:
        if self._file is None:
            self._file = _open_parquet(self.path, self._entry.file, self._checked)
            self._checked = True
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


class _Codes:
    """The codes of a split's ids, read once."""

    def __init__(self, table: Path, file: FileEntry | None, schema: Schema) -> None:
        self.table = table
        self.file = file
        self.schema = schema
        self._codings: dict[str, IdCoding] | None = None

    def codings(self) -> dict[str, IdCoding]:
        if self._codings is None:
            found: dict[str, IdCoding] = {}
            if self.file is not None:
                path = self.table / self.file.path
                with _open_parquet(path, self.file, checked=False) as file:
                    found = load_codings(_read(path, lambda: file.read(use_threads=False)))
            self._codings = found
        return self._codings

    def decoded(self, raw: pa.Table, coded: tuple[str, ...]) -> pa.Table:
        """Raw columns with ids where codes are."""
        for feature in coded:
            at = raw.schema.get_field_index(f"feature.{feature}")
            if at >= 0:
                coding, dtype = self.codings()[feature], np.dtype(self._element(feature).to_pandas_dtype())
                ids = change_elements(one_array(raw.column(at)), partial(coding.decode, dtype=dtype))
                raw = raw.set_column(at, f"feature.{feature}", ids)
        return raw

    def types(self, stored: pa.Schema, coded: tuple[str, ...]) -> dict[str, pa.DataType]:
        found = {field.name: field.type for field in stored}
        return found | {f"feature.{n}": with_element(found[f"feature.{n}"], self._element(n)) for n in coded}

    def _element(self, feature: str) -> pa.DataType:
        return pa.type_for_alias(self.schema.features[feature].type or "int64")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_codings": None}


class _Dictionaries:
    """Dictionaries of one part or split, each read once.

    Args:
        files: group -> the files whose rows follow each other.
        columns: of the table, where days were added.
        key: of the groups that belong here though no file has them yet.
    """

    def __init__(
        self, table: Path, files: Mapping[str, tuple[FileEntry, ...]], columns: Columns | None, key: str = "item"
    ) -> None:
        self.table = table
        self.files = files
        self._columns = columns
        self._key = key
        self._tables: dict[str, pa.Table] = {}

    def groups(self) -> tuple[str, ...]:
        if self._columns is None:
            return tuple(self.files)
        groups = self._columns.schema.groups
        return tuple(group for group, spec in groups.items() if spec.key == self._key)

    def read(self, group: str, keep: bool) -> pa.Table:
        if group in self._tables:
            return self._tables[group]
        tables = [self._file(entry) for entry in self.files.get(group, ())]
        if self._columns is not None:
            tables = [self._columns.conform_dictionary(group, rows) for rows in tables or [None]]
        table = pa.concat_tables(tables).combine_chunks()
        if keep:
            self._tables[group] = table
        return table

    def _file(self, entry: FileEntry) -> pa.Table:
        path = self.table / entry.path
        with _open_parquet(path, entry, checked=False) as file:
            return _read(path, lambda: file.read(use_threads=False))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}


def _open_parquet(path: Path, entry: FileEntry, checked: bool) -> pq.ParquetFile:
    """Open a file; unless it was `checked` before, its checksum is compared first, so that nothing damaged is read."""
    problem = None if checked else _problem(path, entry)
    if problem is not None:
        raise InputError(f"{path} {problem}", todo="copy the table again or fold again")
    return _read(path, lambda: pq.ParquetFile(path, page_checksum_verification=True))


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise InputError(f"{path} {_MISSING}", todo="copy the table again or fold again") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged", got=str(error), todo="copy the table again or fold again") from None


def _problem(path: Path, entry: FileEntry) -> str | None:
    try:
        size = path.stat().st_size
        found = checksum(path) if size == entry.bytes else ""
    except FileNotFoundError:
        return _MISSING
    except OSError as error:
        return f"cannot be read: {error}"
    if size != entry.bytes:
        return f"is damaged: it has {size} bytes, not {entry.bytes}"
    if found != entry.xxh64:
        return f"is damaged: its xxh64 is {found}, not {entry.xxh64}"
    return None
