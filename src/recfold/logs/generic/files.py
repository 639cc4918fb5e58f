"""Which files a log is in, and which format they have."""

from pathlib import Path

from recfold.logs.generic.block import Format
from recfold.logs.generic.csv_files import CSV
from recfold.logs.generic.jsonl_files import JSONL
from recfold.logs.generic.parquet_files import PARQUET
from recfold.spec import InputError

FORMATS: dict[str, Format] = {"parquet": PARQUET, "csv": CSV, "jsonl": JSONL}
COMPRESSED = (".gz", ".bz2", ".zst")


def find_files(folder: Path, glob: str, said: str) -> tuple[Path, ...]:
    """The files below a folder that match a glob, sorted; a folder that matches stands for the files in it.

    Files whose names begin with '.' or '_' are left out.

    Args:
        said: the setting that holds the glob, for messages.
    Raises:
        InputError: nothing matches, or it is not a glob below the folder.
    """
    try:
        matches = sorted(folder.glob(glob))
    except (ValueError, NotImplementedError, OSError) as error:
        raise InputError(
            f"{said} = {glob!r} is not a pattern of files below {folder}", got=str(error), todo="write 'logs/*.parquet'"
        ) from None
    inside = [path for match in matches if match.is_dir() for path in sorted(match.rglob("*"))]
    found = [path for path in (*matches, *inside) if path.is_file() and not path.name.startswith((".", "_"))]
    if not found:
        entries = sorted(entry.name for entry in folder.iterdir())
        raise InputError(
            f"no file below {folder} matches {said} = {glob!r}",
            got=f"in the folder: {', '.join(entries[:8]) or 'nothing'}",
            todo=f"set {said} to the files' pattern",
        )
    return tuple(sorted(set(found)))


def format_of(files: tuple[Path, ...], named: str | None) -> str:
    """The one format of some files: as named, else by their endings (a `.gz`, `.bz2` or `.zst` after it is no matter).

    Raises:
        InputError: an ending says nothing, or two files have different formats.
    """
    if named is not None:
        return named
    found: dict[str, Path] = {}
    for path in files:
        name = path.name.lower()
        for ending in COMPRESSED:
            name = name.removesuffix(ending)
        fits = [key for key, format in FORMATS.items() if name.endswith(format.endings)]
        if not fits:
            raise InputError(
                f"cannot tell the format of {path} by its ending",
                expected=", ".join(ending for format in FORMATS.values() for ending in format.endings),
                todo='set format = "parquet", "csv" or "jsonl" in [logs], or narrow the pattern',
            )
        found.setdefault(fits[0], path)
    if len(found) > 1:
        (one, path), (two, other) = list(found.items())[:2]
        raise InputError(f"one log in two formats: {path} is {one}, {other} is {two}", todo="narrow the pattern")
    return next(iter(found))
