"""reader: samples a second from disk to transformed batches, one process and one thread on each side."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from recfold.batch import Batch
from recfold.bench.digest import sample_digests
from recfold.bench.facts import machine_facts
from recfold.bench.measurement import Measurement, of_speeds
from recfold.bench.peer_files import split_path
from recfold.bench.peer_readers import PeerReader, read_hashed, read_kjt
from recfold.bench.peers import peer_files
from recfold.bench.settings import BenchSettings
from recfold.bench.turns import one_thread, seconds_in_turns
from recfold.bench.work import Work
from recfold.reader import Reader, ReaderSettings
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable, open_table

REPEATS = 5
PEERS: dict[str, tuple[str, PeerReader]] = {
    "arrival-order-kjt": ("arrival-order", read_kjt),
    "clustered-hash": ("clustered", read_hashed),
}
"""Name -> order of its file, and how it reads."""


def reader(work: Work, settings: BenchSettings) -> list[Measurement]:
    """One epoch over the train split. Ours is read in the order `shuffle`, the peers' files as they lie."""
    table, files = work.table(), peer_files(work)
    schema, size = table.schema, settings.batch_size
    ours = ReaderSettings(batch_size=size, seed=settings.seed, workers=0)
    paths = {name: split_path(files / f"{order}-tuned", "train") for name, (order, _) in PEERS.items()}
    with one_thread():
        expected = _contents(Reader(table, "train", ours), "recfold", work)
        for name, (_, read) in PEERS.items():
            if not torch.equal(_contents(read(paths[name], schema, size), name, work), expected):
                raise InputError(f"the batches of {name} hold other samples than recfold's", todo="report this")
        sides = {"recfold": lambda: _read_ours(table.path, ours)}
        sides |= {name: _reading(read, paths[name], schema, size) for name, (_, read) in PEERS.items()}
        seconds = seconds_in_turns(sides, settings.repeats or REPEATS, "reader", work.progress)
    facts = {
        **settings.model_dump(mode="json", include={"workload", "samples", "seed", "batch_size"}),
        "order": ours.order,
        "split": "train",
        "samples_read": len(expected),
        "threads": 1,
        "repeats": settings.repeats or REPEATS,
        **machine_facts(),
    }
    return [
        of_speeds("reader", "tuned", len(expected), (seconds["recfold"], seconds[name]), name, facts) for name in PEERS
    ]


def _read_ours(path: Path, settings: ReaderSettings) -> None:
    # a table that was just opened: nothing of it is in memory yet
    table: FoldedTable = open_table(path)
    with Reader(table, "train", settings) as batches:
        for _ in batches:
            pass


def _reading(read: PeerReader, path: Path, schema: Schema, batch_size: int) -> Callable[[], None]:
    def run() -> None:
        for _ in read(path, schema, batch_size):
            pass

    return run


def _contents(batches: Iterable[Batch], name: str, work: Work) -> torch.Tensor:
    """Digests of all samples, sorted: equal for readers that give the same samples in whatever order."""
    if work.progress is not None:
        work.progress(f"compare the batches of {name}", 0, None)
    return torch.cat([sample_digests(batch) for batch in batches]).sort().values
