"""exchange: training on several ranks: step time, bytes that cross the wire, steps per second on 1, 2 and 4 ranks."""

import itertools
from collections.abc import Callable, Sequence

from recfold.bench.exchange.cases import STEP_CASES, asked_case
from recfold.bench.exchange.multihot import multihot_measurements
from recfold.bench.exchange.multihot_rank import Multihot
from recfold.bench.exchange.scaling import scaling_measurements
from recfold.bench.exchange.steps import step_measurements
from recfold.bench.measurement import Measurement
from recfold.bench.settings import BenchSettings
from recfold.bench.work import Work
from recfold.spec import InputError, unknown

Cases = Callable[[Sequence[str], Work, BenchSettings], list[Measurement]]

MULTIHOT = {f"multihot-{model}": model for model in ("fm", "deepfm", "lr")}
PEER = "parameter-server"


def _multihot(names: Sequence[str], work: Work, settings: BenchSettings) -> list[Measurement]:
    if settings.peers and PEER not in settings.peers:
        raise unknown(f"peer of {names[0]}", settings.peers[0], [PEER])
    if work.progress is not None:
        work.progress(f"{', '.join(names)}: train on 4 ranks", 0, None)
    return multihot_measurements(
        Multihot(
            models=tuple(MULTIHOT[name] for name in names),
            steps=settings.repeats or Multihot().steps,
            seed=settings.seed,
            ids=MULTIHOT_FIELDS * settings.table_rows if settings.table_rows else Multihot().ids,
        )
    )


MULTIHOT_FIELDS = Multihot().features
CASES: dict[str, Cases] = {
    **dict.fromkeys(STEP_CASES, step_measurements),
    "scaling": scaling_measurements,
    **dict.fromkeys(MULTIHOT, _multihot),
}
"""Case -> what measures it, given all chosen cases in a row that it measures."""
WHERE_ASKED = ("fp16", "bf16", "1gbit")
"""Cases that run only where they are asked for."""


def exchange(work: Work, settings: BenchSettings) -> list[Measurement]:
    """The chosen cases, one after the other.

    Raises:
        InputError: no such case, link or peer, a link that cannot be made here, TorchRec is needed and not installed,
            or sides that do not train the same.
    """
    asked = asked_case(settings)
    if asked is not None and settings.cases and settings.cases != (asked,):
        raise InputError(
            f"--link and --codec mean the case {asked}",
            got=f"--case {', '.join(settings.cases)}",
            todo="leave --case out",
        )
    for name in settings.cases:
        if name not in CASES:
            raise unknown("case of exchange", name, CASES)
    names = settings.cases or ((asked,) if asked else tuple(name for name in CASES if name not in WHERE_ASKED))
    found = []
    for measure, group in itertools.groupby(names, key=CASES.__getitem__):
        found += measure(list(group), work, settings)
    return found
