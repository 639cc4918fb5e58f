"""The benches, by name, and the one call that runs one."""

from collections.abc import Callable

from recfold.bench.fold import fold
from recfold.bench.measurement import Measurement
from recfold.bench.reader import reader
from recfold.bench.settings import BenchSettings
from recfold.bench.storage import storage
from recfold.bench.work import Work, open_work
from recfold.spec import unknown
from recfold.table.files import Progress

Bench = Callable[[Work, BenchSettings], list[Measurement]]

BENCHES: dict[str, Bench] = {"storage": storage, "fold": fold, "reader": reader}


def run_bench(
    name: str, settings: BenchSettings | None = None, *, progress: Progress | None = None
) -> list[Measurement]:
    """Measure ours and every peer of one bench, in one run, after a check that they do the same.

    Args:
        name: a key of `BENCHES`.
        settings: on what.
        progress: told (what, done, total) now and then.
    Raises:
        InputError: no such bench or workload, a working folder that cannot be made, or sides that disagree.
    """
    if name not in BENCHES:
        raise unknown("bench", name, BENCHES)
    settings = settings or BenchSettings()
    with open_work(settings, progress) as work:
        return BENCHES[name](work, settings)
