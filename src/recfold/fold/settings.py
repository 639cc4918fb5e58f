"""Settings of a fold."""

from typing import Literal

from pydantic import Field

from recfold.spec import Settings


class FoldSettings(Settings):
    """How to fold.

    Args:
        memory_gb: bound of the working set; says how many partitions there are.
        fold_by: the unit whose samples form a row and inside which lists are compared.
        split_time: first time of validation: ISO text, or the fraction of the candidate rows, by time, that are last
            (0 for no validation); the last tenth where not given. Not used where the logs say the split.
        window_hours: attribution window; a later outcome is late.
        session_gap_minutes: a user's pause that ends a session, for samples without a session id.
        partitions: how many; chosen by size and memory where not given.
        workers: processes; 1 for none besides this one; chosen where not given. Changes no byte of the table.
        row_group_samples: samples in a Parquet row group.
    """

    memory_gb: float = Field(default=4.0, gt=0)
    fold_by: Literal["session", "request", "user"] = "session"
    split_time: str | float | None = None
    window_hours: float = Field(default=24.0, gt=0)
    session_gap_minutes: float = Field(default=30.0, gt=0)
    partitions: int | None = Field(default=None, gt=0, le=4096)
    workers: int | None = Field(default=None, gt=0)
    row_group_samples: int = Field(default=65536, gt=0)
