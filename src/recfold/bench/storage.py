"""storage: bytes of the folded table against the joined table as ordinary Parquet."""

import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from recfold.bench.facts import machine_facts
from recfold.bench.measurement import Measurement, of_bytes
from recfold.bench.peer_files import CASES, ORDERS, write_default
from recfold.bench.peers import check_same_samples, clustered_files, peer_files
from recfold.bench.settings import BenchSettings
from recfold.bench.work import Work
from recfold.table import FoldedTable


def storage(work: Work, settings: BenchSettings) -> list[Measurement]:
    """Case `tuned`: the table as the fold writes it, whole, manifest and quarantine included. Case `default`: its
    Parquet files written again as pyarrow does by itself, as the peer's are.
    """
    table = work.table()
    check_same_samples(table, clustered_files(work), work.schema())
    files = peer_files(work)
    facts = {**settings.model_dump(mode="json", include={"workload", "samples", "seed"}), **machine_facts()}
    found = []
    for case in CASES:
        ours = folder_bytes(table.path) if case == "tuned" else _default_bytes(table)
        for order in ORDERS:
            peer = folder_bytes(files / f"{order}-{case}")
            found.append(of_bytes("storage", case, ours, peer, order, facts))
    return found


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _default_bytes(table: FoldedTable) -> int:
    """The folded table with every Parquet file as pyarrow's defaults would have it."""
    total = 0
    with tempfile.TemporaryDirectory(prefix="recfold-bench-") as folder:
        again = Path(folder) / "again.parquet"
        for path in sorted(table.path.rglob("*")):
            if path.suffix == ".parquet":
                write_default(again, pq.read_table(path))
                total += again.stat().st_size
            elif path.is_file():
                total += path.stat().st_size
    return total
