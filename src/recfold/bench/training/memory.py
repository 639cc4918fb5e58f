"""Peak memory of each side, one process a side, so that none is measured with what another left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from recfold.bench.training.batches import num_training_samples, read_batches, training_schema
from recfold.bench.training.peak import largest, peak_of_step, peak_of_steps, warm_up
from recfold.bench.training.sides import build_side
from recfold.spec import InputError, Settings
from recfold.table import open_table
from recfold.train import RunSettings
from recfold.train.learner import resolve_device

STEPS = 3
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}
"""Every tensor of 64 KiB or more gets pages of its own that go back when it is freed: resident is what is alive."""


class MemoryTask(Settings):
    """What one process measures.

    Args:
        table: path of the folded table.
        side: its name.
        settings: of the run.
        table_rows: see `BenchSettings`.
        threads: that torch computes with.
        limit_bytes: look for the largest batch whose step peaks below it; None measures the peak of the settings' own
            batch size.
    """

    table: Path
    side: str
    settings: RunSettings
    table_rows: int | None = None
    threads: int
    limit_bytes: int | None = None


def measured(task: MemoryTask) -> int:
    """Do a task in a process of its own: bytes, or samples where it has a limit.

    Raises:
        InputError: what the process reported.
    """
    ran = subprocess.run(
        [sys.executable, "-m", "recfold.bench.training.memory_child"],
        input=task.model_dump_json(),
        capture_output=True,
        text=True,
        env={**os.environ, **MALLOC},
    )
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        raise InputError(f"the memory of {task.side} could not be measured", got=last)
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise InputError(f"the memory of {task.side} could not be measured", got=answer["error"])
    return int(answer["found"])


def measure(task: MemoryTask) -> int:
    """Do a task here."""
    torch.set_num_threads(task.threads)
    table, device = open_table(task.table), resolve_device(task.settings.train.device)
    schema = training_schema(table, task.settings, task.table_rows)
    side = build_side(task.side, schema, task.settings)
    batches = read_batches(table, schema, task.settings, STEPS)
    if task.limit_bytes is None:
        return peak_of_steps(side, batches, device)
    limit = task.limit_bytes
    warm_up(side, batches[0])

    def fits(size: int) -> bool:
        (batch,) = read_batches(table, schema, task.settings, 1, batch_size=size)
        return peak_of_step(side, batch, device) <= limit

    return largest(fits, task.settings.train.batch_size, num_training_samples(table))
