"""Open logs: by an adapter's name, or by a schema."""

import os
from dataclasses import replace
from pathlib import Path

import xxhash

from recfold.logs.adapters import ADAPTERS
from recfold.logs.generic import open_generic
from recfold.logs.source import LogSource
from recfold.spec import InputError, Schema, load_schema, unknown

SCHEMA_FILE = "features.toml"


def open_logs(path: Path | str, *, schema: Schema | Path | str | None = None, adapter: str | None = None) -> LogSource:
    """Logs in canonical form.

    Args:
        path: folder of the logs.
        schema: what the columns are; `features.toml` in the folder where not given.
        adapter: a known data set, which brings its own schema.
    Raises:
        InputError: no such folder, adapter or schema; both were given; or files that do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there are no logs at {path}", todo="name the folder that holds them")
    if adapter is not None:
        if schema is not None:
            raise InputError("an adapter brings its own schema", todo="give an adapter or a schema, not both")
        if adapter not in ADAPTERS:
            raise unknown("adapter", adapter, ADAPTERS)
        return replace(ADAPTERS[adapter](path), identity=_identity(path))
    if schema is None:
        schema = path / SCHEMA_FILE
        if not schema.exists():
            raise InputError(
                f"{path} has no {SCHEMA_FILE}",
                todo=f"write one (docs/features.md), give --schema, or --adapter {'|'.join(ADAPTERS)}",
            )
    source = open_generic(path, schema if isinstance(schema, Schema) else load_schema(Path(schema)))
    return replace(source, identity=_identity(path))


def _identity(path: Path) -> str:
    """Names, sizes and times of all files below a folder, linked folders included."""
    digest = xxhash.xxh64()
    folders = [(str(path.parent), [], [path.name])] if path.is_file() else os.walk(path, followlinks=True)
    for file in sorted(Path(folder) / name for folder, _, names in folders for name in names):
        if file.is_file():
            about = file.stat()
            digest.update(f"{file}\0{about.st_size}\0{about.st_mtime_ns}\0".encode("utf-8", "replace"))
    return digest.hexdigest()
