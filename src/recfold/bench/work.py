"""The working folder of a bench: logs, folded table and the peers' files, each made once.

What is kept is named after the source of the rooms that made it, so that nothing old is measured.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from recfold.bench.facts import code_digest
from recfold.bench.settings import BenchSettings
from recfold.fold import fold
from recfold.logs import synth
from recfold.spec import InputError, Schema, load_schema
from recfold.table import FoldedTable, open_table
from recfold.table.files import Progress

_LOG_ROOMS = ("logs", "spec")
_FOLD_ROOMS = (*_LOG_ROOMS, "fold", "table")


@dataclass(frozen=True)
class Work:
    """A working folder for one set of settings.

    Args:
        folder: where things are kept.
        settings: of the logs.
        tell: given lines for the user: what is left out, and why.
        change: the logs' probability of change for each user group, instead of the workload's.
    """

    folder: Path
    settings: BenchSettings
    progress: Progress | None = None
    tell: Callable[[str], None] = lambda line: None
    change: tuple[float, ...] | None = None

    def of(self, workload: str, change: tuple[float, ...] | None) -> "Work":
        """The same folder for other logs of as many samples and the same seed."""
        return replace(self, settings=self.settings.model_copy(update={"workload": workload}), change=change)

    def logs(self) -> Path:
        """Folder of the generated logs."""
        given = self.settings
        return self.kept(
            "logs",
            _LOG_ROOMS,
            lambda out: synth(
                out,
                workload=given.workload,
                samples=given.samples,
                seed=given.seed,
                change=self.change,
                progress=self.progress,
            ),
        )

    def schema(self) -> Schema:
        """The features.toml of the logs."""
        return load_schema(self.logs() / "features.toml")

    def table(self) -> FoldedTable:
        """The logs, folded with the settings that `recfold fold` has by itself."""
        logs = self.logs()
        return open_table(self.kept("folded", _FOLD_ROOMS, lambda out: fold(logs, out, progress=self.progress)))

    def kept(self, name: str, rooms: tuple[str, ...], make: Callable[[Path], object]) -> Path:
        """A folder that is there, or is made now; what older code made under this name is removed.

        Args:
            rooms: whose code decides what is in it.
            make: called with the folder to make; must not leave half of it at its place.
        """
        given = self.settings
        changed = "" if self.change is None else "-" + "-".join(f"{chance:g}" for chance in self.change)
        prefix = f"{given.workload}{changed}-{given.samples}-{given.seed}-{name}-"
        path = self.folder / (prefix + code_digest(*rooms))
        if not path.exists():
            for old in self.folder.glob(f"{prefix}*"):
                shutil.rmtree(old)
            make(path)
        return path


@contextmanager
def open_work(
    settings: BenchSettings, progress: Progress | None = None, tell: Callable[[str], None] = lambda line: None
) -> Iterator[Work]:
    """The working folder that the settings name, or a temporary one that is gone afterwards.

    Raises:
        InputError: it cannot be made.
    """
    if settings.folder is None:
        with tempfile.TemporaryDirectory(prefix="recfold-bench-") as folder:
            yield Work(Path(folder), settings, progress, tell)
        return
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {settings.folder}", got=str(error)) from None
    yield Work(settings.folder, settings, progress, tell)
