"""What a worker process runs: jobs come in as lines of JSON, batches go out as frames.

A worker ends when its input closes, so it never outlives the process that started it.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from recfold.reader.dealing import Deal
from recfold.reader.layout import layout_of
from recfold.reader.order import load_units
from recfold.reader.produce import Store, plan_of, produce
from recfold.reader.settings import ReaderSettings
from recfold.reader.wire import write_frame
from recfold.spec import InputError, Schema
from recfold.table import open_table


def main() -> None:
    """Serve jobs from standard input on standard output until the input closes."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    # whatever a library prints must not land between two frames
    os.dup2(2, 1)
    pa.set_cpu_count(1)
    try:
        serve(sys.stdin.buffer, out)
    except BrokenPipeError:
        # the reader has gone; nobody is left to tell
        os._exit(0)


def serve(jobs: IO[bytes], out: IO[bytes]) -> None:
    """Answer jobs.

    Args:
        jobs: first a line of `start_line`, then lines of `job_line`.
        out: unbuffered; gets the frames of each job's batches and `{"end": true}`, or `{"error": ...}` and no more.
    """
    try:
        start = json.loads(jobs.readline())
        settings, rank = ReaderSettings.model_validate(start["settings"]), start["rank"]
        table = open_table(Path(start["table"]))
        if table.manifest.checksum != start["checksum"]:
            raise InputError(f"{table.path} has changed while it was read", todo="start again")
        units = load_units(table, start["split"])
        store = Store(table, start["split"], layout_of(Schema.model_validate(start["schema"])))
        while line := jobs.readline():
            job = json.loads(line)
            plan = plan_of(units, settings, job["epoch"], [Deal(*deal) for deal in job["deals"]], rank)
            for arrays in produce(plan, store, range(job["first"], plan.num_batches, job["step"])):
                write_frame(out, {}, arrays)
            write_frame(out, {"end": True})
    except BrokenPipeError:
        raise
    except InputError as error:
        write_frame(out, {"error": str(error), "input": True})
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        write_frame(out, {"error": f"{type(error).__name__}: {error} ({where})", "input": False})


def start_line(
    table: Path, checksum: str, split: str, settings: ReaderSettings, schema: Schema, rank: int
) -> dict[str, Any]:
    """What a worker is told once."""
    return {
        "table": str(table.absolute()),
        "checksum": checksum,
        "split": split,
        "settings": settings.model_dump(mode="json"),
        "schema": schema.model_dump(mode="json"),
        "rank": rank,
    }


def job_line(epoch: int, deals: Sequence[Deal], first: int, step: int) -> dict[str, Any]:
    """What a worker is told for every epoch: make the batches first, first + step, ..."""
    return {"epoch": epoch, "deals": [list(deal) for deal in deals], "first": first, "step": step}
