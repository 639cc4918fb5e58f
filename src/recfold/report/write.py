"""Read a run, render it, and put the page in place."""

import os
import tempfile
from pathlib import Path

from recfold.report.document import document
from recfold.report.read_run import read_run
from recfold.spec import InputError

REPORT = "report.html"


def report(run: Path | str, table: Path | str | None = None, out: Path | str | None = None) -> Path:
    """Write one self-contained HTML page from which someone who was not there understands a run.

    The same run and table give the same bytes. A part that is missing (no evaluation yet, no timing, the table moved
    away) is said in one line of the page.

    Args:
        run: folder of the run.
        table: its folded table; where the run says it is if not given.
        out: the page; `report.html` in the run's folder if not given. It appears whole or not at all.
    Returns:
        The path of the page.
    Raises:
        InputError: `run` is no folder of a run, or the page cannot be written.
    """
    facts = read_run(Path(run), None if table is None else Path(table))
    path = Path(run) / REPORT if out is None else Path(out)
    _write(path, document(facts))
    return path


def _write(path: Path, text: str) -> None:
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(text.encode("utf-8", "replace"))
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}", got=error.strerror or str(error), todo="give a file in a folder that exists"
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
