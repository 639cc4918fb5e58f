"""Settings of a measurement."""

from pathlib import Path

from pydantic import Field

from recfold.spec import Settings


class BenchSettings(Settings):
    """What to measure on.

    Args:
        workload: of the generated logs.
        samples: rows of their impressions.
        seed: of the logs and of the reader's order.
        repeats: how often each side is timed, in turns; the bench's own number where not given.
        batch_size: samples of a batch that is read.
        folder: working folder that is kept and used again; a temporary one where not given.
    """

    workload: str = "pooled"
    samples: int = Field(default=1_000_000, gt=0)
    seed: int = Field(default=0, ge=0)
    repeats: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=4096, gt=0)
    folder: Path | None = None
