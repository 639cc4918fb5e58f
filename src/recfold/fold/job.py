"""What every step of one fold needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recfold.fold.columns import Extent
from recfold.fold.quarantine import Quarantine
from recfold.fold.settings import FoldSettings
from recfold.spec import Schema
from recfold.table.files import Progress

PROCESS_BYTES = 128 << 20
"""About what a process takes before it has any data."""


@dataclass(frozen=True)
class Job:
    """One fold.

    Attributes:
        schema: as the logs say it; groups not chosen yet.
        work: folder for what is only for the work.
        known: canonical column -> what it holds in the table already, where logs are added to one.
        distinct: ids that each feature has in a table that keeps no sketches: some of the new ones may be the same.
        digests: of what is in the table already.
    """

    schema: Schema
    settings: FoldSettings
    work: Path
    quarantine: Quarantine
    progress: Progress | None
    known: Mapping[str, Extent] = field(default_factory=dict)
    distinct: Mapping[str, int] = field(default_factory=dict)
    digests: frozenset[str] = frozenset()

    @property
    def memory_bytes(self) -> int:
        """What there is for the work: without what a Python process with its libraries takes by itself."""
        whole = int(self.settings.memory_gb * (1 << 30))
        return max(whole - PROCESS_BYTES, whole // 4)

    def report(self, what: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(what, done, total)
