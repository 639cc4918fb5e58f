"""What every step of one fold needs to know."""

from dataclasses import dataclass
from pathlib import Path

from recfold.fold.quarantine import Quarantine
from recfold.fold.settings import FoldSettings
from recfold.spec import Schema
from recfold.table.files import Progress


@dataclass(frozen=True)
class Job:
    """One fold.

    Attributes:
        schema: as the logs say it; groups not chosen yet.
        work: folder for what is only for the work.
    """

    schema: Schema
    settings: FoldSettings
    work: Path
    quarantine: Quarantine
    progress: Progress | None

    @property
    def memory_bytes(self) -> int:
        return int(self.settings.memory_gb * (1 << 30))

    def report(self, what: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(what, done, total)
