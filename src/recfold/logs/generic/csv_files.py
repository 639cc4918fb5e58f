"""CSV: everything is text, so that a column's type is what all of its values can be read as.

A column is integers where every value is written as an integer in 64 bits (no leading zeros, so that no id changes),
else floats where every value is a number, else lists where every value is a JSON array, else text. An empty field is a
null, a quoted empty one is the empty text. A column declared as a list takes JSON arrays, or elements with '|' between
them.
"""

import codecs
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from recfold.logs.canonical import as_json
from recfold.logs.generic.block import BadRow, Block, Columns, Format
from recfold.logs.generic.column_type import ColumnType, Element, merge
from recfold.logs.generic.csv_lists import list_column, list_element
from recfold.spec import InputError

_BLOCK_BYTES = 4 << 20
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_FLOAT = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:nan|inf)$"
_SHOWN: dict[Element, str] = {"null": "null", "integer": "integers", "float64": "floats", "string": "text"}


def csv_columns(files: tuple[Path, ...], lists: Collection[str]) -> Columns:
    """The columns by all values of all files.

    Args:
        lists: columns declared to hold lists.
    Raises:
        InputError: a file cannot be read, has no header, or has two columns of one name.
    """
    types: dict[str, ColumnType] = {}
    first: dict[str, Path] = {}
    present = {}
    for path in files:
        odd = _odd_quotes(path)
        names = _header(path)
        present[path] = frozenset(names)
        rows = 1
        for name in names:
            first.setdefault(name, path)
            types.setdefault(name, ColumnType("null", name in lists))
        num_bad = 0
        for batch, bad in _batches(path, names):
            num_bad = len(bad)
            for name, column in zip(names, batch.columns, strict=True):
                found = ColumnType(list_element(column)[0], True) if name in lists else text_type(column)
                types[name] = merge(types[name], found)
            rows += len(batch)
        if odd:
            _check_closed(path, rows + num_bad)
    return Columns({name: _settled(types[name], path) for name, path in first.items()}, present)


def csv_blocks(path: Path, wanted: Mapping[str, ColumnType]) -> Iterator[Block]:
    """The rows, in order; a line with too few or too many fields is a bad row.

    Raises:
        InputError: the file is damaged or has vanished.
    """
    names = list(wanted)
    told = done = 0
    for batch, bad in _batches(path, names):
        faults, columns = [], {}
        for name, column in zip(names, batch.columns, strict=True):
            columns[name], wrong = _column(column, wanted[name])
            faults.append((wrong, "not a list"))
        numbers = _numbers(done, len(batch), bad)
        done += len(batch)
        yield Block(pa.table(columns), numbers, tuple(faults), tuple(bad[told:]))
        told = len(bad)


def text_type(column: pa.Array) -> ColumnType:
    """What every text of a column can be read as.

    >>> [text_type(pa.array(x)).element for x in (["1", None], ["1", "2.5"], ["007"], ["9" * 19])]
    ['integer', 'float64', 'string', 'huge']
    """
    if column.null_count == len(column):
        return ColumnType("null")
    if _all(column, _INTEGER):
        try:
            column.cast(pa.int64())
        except pa.ArrowInvalid:
            return ColumnType("huge")
        return ColumnType("integer")
    if _all(column, _FLOAT):
        return ColumnType("float64")
    if _all(column, r"^\[") and _all(column, r"\]$"):
        element, lists = list_element(column)
        if lists:
            return ColumnType(element, True)
    return ColumnType("string")


def _settled(found: ColumnType, path: Path) -> ColumnType:
    """Values that do not fit one narrower type are text."""
    element: Element = found.element if found.element in _SHOWN else "string"
    shown = f"lists of {_SHOWN[element]}" if found.is_list else _SHOWN[element]
    return replace(found, element=element, seen=((shown, path),))


def _column(column: pa.Array, found: ColumnType) -> tuple[pa.Array, np.ndarray]:
    """A column of text in its type, and the values (bool) that cannot be read: none but lists."""
    if found.is_list:
        return list_column(column, found.element)
    right = np.zeros(len(column), bool)
    if found.element == "integer":
        return column.cast(pa.int64()), right
    if found.element == "float64":
        return pl.Series(pl.from_arrow(column)).cast(pl.Float64).to_arrow(), right
    return pa.nulls(len(column)) if found.element == "null" else column, right


def _all(column: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _numbers(done: int, rows: int, bad: list[BadRow]) -> np.ndarray:
    """Row numbers of the next good rows: `done` good ones came before, bad ones lie between."""
    good = np.arange(done, done + rows)
    skipped = np.array([row.number for row in bad], np.int64) - np.arange(len(bad))
    return good + np.searchsorted(skipped, good, side="right")


def _odd_quotes(path: Path) -> bool:
    """Whether a file has an odd number of quotes: one is not closed, or stands for itself.

    Raises:
        InputError: the file is not UTF-8.
    """
    quotes = line = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            while block := stream.read(_BLOCK_BYTES):
                decoder.decode(block)
                quotes += block.count(b'"')
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += 1 + error.object[: error.start].count(b"\n")
        raise InputError(
            f"{path} is not UTF-8",
            got=f"byte 0x{error.object[error.start]:02x} in line {line}",
            todo="save it as UTF-8",
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    return quotes % 2 == 1


def _check_closed(path: Path, rows: int) -> None:
    """A quote that is not closed makes one field of lines that follow: with an odd number of quotes rows must be lines.

    Args:
        rows: that were found, bad ones and the header included.
    """
    with pa.input_stream(str(path), compression="detect") as stream:
        lines = sum(1 for line in io.BufferedReader(stream) if line.strip())
    if lines > rows:
        raise InputError(
            f"{path} has a quote that is not closed",
            got=f"an odd number of quotes, and {rows} rows in {lines} lines",
            todo="close it, or write a quote inside a quoted field twice",
        )


def _header(path: Path) -> list[str]:
    with _open(path, [], []) as reader:
        names = list(reader.schema.names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path} has two columns called {twice!r}", todo="rename one of them")
    return names


def _batches(path: Path, names: list[str]) -> Iterator[tuple[pa.RecordBatch, list[BadRow]]]:
    """Rows as text, with all the bad rows that were met so far (and maybe a few that lie ahead)."""
    bad: list[BadRow] = []
    with _open(path, names, bad) as reader:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from None
            yield batch, bad
    if bad:
        yield pa.RecordBatch.from_arrays([pa.array([], pa.string())] * len(names), names=names), bad


def _open(path: Path, names: list[str], bad: list[BadRow]) -> pa_csv.CSVStreamingReader:
    def skip(row: pa_csv.InvalidRow) -> str:
        # numbered from 1, the header included
        bad.append(BadRow((row.number or 1) - 2, "unparsable row", as_json(row.text)))
        return "skip"

    tabs = ".tsv" in path.suffixes
    try:
        return pa_csv.open_csv(
            str(path),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(
                delimiter="\t" if tabs else ",", newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=names,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    text = (str(error) or "an error").splitlines()[0]
    if "Empty CSV" in text:
        return InputError(f"{path} is empty", expected="a first line with the names of the columns")
    return InputError(f"cannot read {path} as CSV", got=text)


CSV = Format((".csv", ".tsv"), csv_columns, csv_blocks)
