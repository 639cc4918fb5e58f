"""What a worker process runs: jobs come in as lines of JSON, batches go out as frames.

A worker is ahead of its reader by a bounded number of batches: each one taken is answered with an empty line, and only
then is another sent. A worker ends when its socket closes, so it never outlives the process that started it.
"""

import json
import os
import socket
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
from recfold.reader.shared import Shared
from recfold.reader.wire import send_frame
from recfold.spec import InputError, Schema
from recfold.table import open_table

TAKEN = b"\n"
"""What a worker is told when a batch has been taken."""


def main(fd: int) -> None:
    """Serve jobs on a socket until its other end closes.

    Args:
        fd: descriptor of the socket.
    """
    pa.set_cpu_count(1)
    try:
        with socket.socket(fileno=fd) as reader:
            serve(reader)
    except (BrokenPipeError, ConnectionResetError):
        # the reader has gone; nobody is left to tell
        os._exit(0)


def serve(reader: socket.socket) -> None:
    """Answer jobs.

    Args:
        reader: gives a line of `start_line`, then lines of `job_line`, and an empty line for each batch taken; gets the
            frames of each job's batches and `{"end": true}`, or `{"error": ...}` and no more.
    """
    jobs = reader.makefile("rb")
    try:
        start = json.loads(jobs.readline())
        settings, rank = ReaderSettings.model_validate(start["settings"]), start["rank"]
        table = open_table(Path(start["table"]))
        if table.manifest.checksum != start["checksum"]:
            raise InputError(f"{table.path} has changed while it was read", todo="start again")
        units = load_units(table, start["split"])
        store = Store(table, start["split"], layout_of(Schema.model_validate(start["schema"])))
        store.share(Shared.of_json(start["shared"]))
        while line := jobs.readline():
            if line == TAKEN:
                continue  # of the last batches of the job before
            job = json.loads(line)
            ahead = start["prefetch"]
            plan = plan_of(units, settings, job["epoch"], [Deal(*deal) for deal in job["deals"]], rank)
            for arrays in produce(plan, store, range(job["first"], plan.num_batches, job["step"])):
                if not ahead:
                    if not jobs.readline():
                        return
                    ahead = 1
                send_frame(reader, {}, arrays)
                ahead -= 1
            send_frame(reader, {"end": True})
    except (BrokenPipeError, ConnectionResetError):
        raise
    except InputError as error:
        _say(reader, jobs, {"error": str(error), "input": True})
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        _say(reader, jobs, {"error": f"{type(error).__name__}: {error} ({where})", "input": False})


def _say(reader: socket.socket, jobs: IO[bytes], error: dict[str, Any]) -> None:
    """Tell the reader what went wrong and wait until it closes: a socket that is closed unread drops what it held."""
    send_frame(reader, error)
    while jobs.readline():
        continue


def start_line(
    table: Path,
    checksum: str,
    split: str,
    settings: ReaderSettings,
    schema: Schema,
    rank: int,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """What a worker is told once.

    Args:
        shared: the transformed rows of the split's dictionaries, in memory that the worker inherits.
    """
    return {
        "table": str(table.absolute()),
        "checksum": checksum,
        "split": split,
        "settings": settings.model_dump(mode="json"),
        "schema": schema.model_dump(mode="json"),
        "rank": rank,
        "prefetch": settings.prefetch,
        "shared": (shared or Shared()).as_json(),
    }


def job_line(epoch: int, deals: Sequence[Deal], first: int, step: int) -> dict[str, Any]:
    """What a worker is told for every epoch: make the batches first, first + step, ..."""
    return {"epoch": epoch, "deals": [list(deal) for deal in deals], "first": first, "step": step}
