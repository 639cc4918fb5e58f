"""fold: samples a second from both logs to a folded table."""

import shutil

from recfold.bench.facts import machine_facts
from recfold.bench.measurement import Measurement, of_speeds
from recfold.bench.peer_fold import fold_with_polars
from recfold.bench.peers import check_same_samples
from recfold.bench.settings import BenchSettings
from recfold.bench.turns import seconds_in_turns
from recfold.bench.work import Work
from recfold.fold import fold as fold_logs
from recfold.spec import num_cpus
from recfold.table import open_table

REPEATS = 3


def fold(work: Work, settings: BenchSettings) -> list[Measurement]:
    """`recfold fold` against polars doing the same join and session sort; each uses all CPUs."""
    logs, schema = work.logs(), work.schema()
    ours, peer = work.folder / "fold-ours", work.folder / "fold-peer"

    def run_ours() -> None:
        shutil.rmtree(ours, ignore_errors=True)
        fold_logs(logs, ours)

    def run_peer() -> None:
        shutil.rmtree(peer, ignore_errors=True)
        peer.mkdir()
        fold_with_polars(logs, schema, peer)

    try:
        run_ours()
        run_peer()
        check_same_samples(open_table(ours), peer, schema)
        sides = {"recfold": run_ours, "polars": run_peer}
        seconds = seconds_in_turns(sides, settings.repeats or REPEATS, "fold", work.progress)
    finally:
        shutil.rmtree(ours, ignore_errors=True)
        shutil.rmtree(peer, ignore_errors=True)
    facts = {
        **settings.model_dump(mode="json", include={"workload", "samples", "seed"}),
        "threads": num_cpus(),
        "repeats": settings.repeats or REPEATS,
        **machine_facts(),
    }
    return [of_speeds("fold", "fold", settings.samples, (seconds["recfold"], seconds["polars"]), "polars", facts)]
