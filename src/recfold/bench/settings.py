"""Settings of a measurement."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from recfold.spec import Settings

Metric = Literal["samples_per_s", "peak_memory", "largest_batch"]


class BenchSettings(Settings):
    """What to measure on.

    Args:
        workload: of the generated logs.
        samples: rows of their impressions.
        seed: of the logs and of the reader's order.
        repeats: how often each side is timed, in turns; the bench's own number where not given.
        batch_size: samples of a batch that is read, or trained on.
        folder: working folder that is kept and used again; a temporary one where not given.
        cases: of the training benches, `exchange` (without its links where empty) and `plan`; all where empty.
        peers: of the training benches, `exchange` and `plan`; all of a case where empty.
        metrics: of the training benches.
        groups: of the training benches: the user features are dealt to so many groups, or to one group for each
            of these probabilities of change (see `change_of`); what the case says where not given.
        order: in which training batches are read.
        table_rows: at most so many rows an embedding table, for small machines and tests; None for the workload's own.
        memory_mb: limit in MiB of the largest batch, above what is held before a step; None for what the plain way
            needs at the case's batch size.
        device: that training benches compute on.
        nproc: ranks of the bench `exchange`.
        link: of the bench `exchange`, between ranks; measures the case of that link alone.
        tasks: of the bench `plan`.
        task_tables: from, to; of each of its tasks.
        codec: of the bench `exchange`, for rows and their gradients on our side; measures that case alone.
        dump: folder to write the batches and first weights of each case to.
    """

    workload: str = "pooled"
    samples: int = Field(default=1_000_000, gt=0)
    seed: int = Field(default=0, ge=0)
    repeats: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=4096, gt=0)
    folder: Path | None = None
    cases: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ("samples_per_s", "peak_memory", "largest_batch")
    groups: str | None = None
    order: Literal["time", "shuffle"] = "shuffle"
    table_rows: int | None = Field(default=None, gt=0)
    memory_mb: int | None = Field(default=None, gt=0)
    device: str = "auto"
    nproc: int = Field(default=2, gt=1)
    link: str | None = None
    codec: Literal["fp32", "fp16", "bf16", "int8"] | None = None
    dump: Path | None = None
    tasks: int = Field(default=20, gt=0)
    task_tables: tuple[int, int] = (20, 200)
