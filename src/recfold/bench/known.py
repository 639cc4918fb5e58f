"""The benches, by name, and the one call that runs one."""

from collections.abc import Callable

from recfold.bench.exchange import exchange
from recfold.bench.fold import fold
from recfold.bench.measurement import Measurement
from recfold.bench.plan import plan
from recfold.bench.reader import reader
from recfold.bench.settings import BenchSettings
from recfold.bench.storage import storage
from recfold.bench.training import train_pooled, train_sequence
from recfold.bench.work import Work, open_work
from recfold.spec import unknown
from recfold.table.files import Progress

Bench = Callable[[Work, BenchSettings], list[Measurement]]

BENCHES: dict[str, Bench] = {
    "storage": storage,
    "fold": fold,
    "reader": reader,
    "train-pooled": train_pooled,
    "train-sequence": train_sequence,
    "exchange": exchange,
    "plan": plan,
}
TRAINING_SAMPLES = 100_000
"""Of the generated logs of a training bench, where the user does not say: some twenty batches."""


def run_bench(
    name: str,
    settings: BenchSettings | None = None,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Measurement]:
    """Measure ours and every peer of one bench, in one run, after a check that they do the same.

    Args:
        name: a key of `BENCHES`.
        settings: on what.
        progress: told (what, done, total) now and then.
        tell: told in a line what is left out, and why.
    Raises:
        InputError: no such bench or workload, a working folder that cannot be made, or sides that disagree.
    """
    if name not in BENCHES:
        raise unknown("bench", name, BENCHES)
    settings = settings or BenchSettings()
    if name.startswith(("train-", "exchange")) and "samples" not in settings.model_fields_set:
        # not a copy with an update: benches ask which settings were given
        settings = BenchSettings.model_construct(
            settings.model_fields_set, **{**dict(settings), "samples": TRAINING_SAMPLES}
        )
    with open_work(settings, progress, tell) as work:
        return BENCHES[name](work, settings)
