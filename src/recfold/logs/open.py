"""Open logs: by an adapter's name, or by a schema."""

from pathlib import Path

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
        return ADAPTERS[adapter](path)
    if schema is None:
        schema = path / SCHEMA_FILE
        if not schema.exists():
            raise InputError(
                f"{path} has no {SCHEMA_FILE}",
                todo=f"write one (docs/features.md), give --schema, or --adapter {'|'.join(ADAPTERS)}",
            )
    return open_generic(path, schema if isinstance(schema, Schema) else load_schema(Path(schema)))
