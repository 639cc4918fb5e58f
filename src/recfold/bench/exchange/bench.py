"""exchange: training on several ranks: step time, bytes that cross the wire, steps per second on 1, 2 and 4 ranks."""

import itertools
from collections.abc import Callable, Sequence

from recfold.bench.exchange.cases import STEP_CASES, asked_case
from recfold.bench.exchange.multihot import multihot_measurements
from recfold.bench.exchange.multihot_rank import Multihot
from recfold.bench.exchange.scaling import ONE_RANK, scaling_measurements
from recfold.bench.exchange.steps import step_measurements
from recfold.bench.measurement import Measurement
from recfold.bench.settings import BenchSettings
from recfold.bench.work import Work
from recfold.spec import InputError, unknown

Cases = Callable[[Sequence[str], Work, BenchSettings], list[Measurement]]

MULTIHOT = {f"multihot-{model}": model for model in ("fm", "deepfm", "lr")}
PEER = "parameter-server"


def _multihot(names: Sequence[str], work: Work, settings: BenchSettings) -> list[Measurement]:
    asked = _multihot_work(names, settings)
    if work.progress is not None:
        work.progress(f"{', '.join(names)}: train on {asked.ranks} ranks", 0, None)
    return multihot_measurements(asked)


def _multihot_work(names: Sequence[str], settings: BenchSettings) -> Multihot:
    """Ranks and batch size are its own where they are not given; its samples are drawn, step by step."""
    own = Multihot()
    given = settings.model_fields_set
    return Multihot(
        models=tuple(MULTIHOT[name] for name in names),
        ranks=settings.nproc if "nproc" in given else own.ranks,
        batch_size=settings.batch_size if "batch_size" in given else own.batch_size,
        steps=settings.repeats or own.steps,
        seed=settings.seed,
        ids=own.features * settings.table_rows if settings.table_rows else own.ids,
    )


CASES: dict[str, Cases] = {
    **dict.fromkeys(STEP_CASES, step_measurements),
    "scaling": scaling_measurements,
    **dict.fromkeys(MULTIHOT, _multihot),
}
"""Case -> what measures it, given all chosen cases in a row that it measures."""
PEERS: dict[str, tuple[str, ...]] = {
    **{name: case.peers for name, case in STEP_CASES.items()},
    "scaling": (ONE_RANK,),
    **dict.fromkeys(MULTIHOT, (PEER,)),
}
WORKLOADS = {name: "multihot" if name in MULTIHOT else "pooled" for name in CASES}
"""Case -> what its samples are those of."""
WHERE_ASKED = ("fp16", "bf16", "1gbit")
"""Cases that run only where they are asked for."""


def exchange(work: Work, settings: BenchSettings) -> list[Measurement]:
    """The chosen cases, one after the other.

    Raises:
        InputError: see `chosen_names`; a link that cannot be made here, TorchRec is needed and not installed, or sides
            that do not train the same.
    """
    names = chosen_names(settings)
    found = []
    for measure, group in itertools.groupby(names, key=CASES.__getitem__):
        found += measure(list(group), work, settings)
    return found


def chosen_names(settings: BenchSettings) -> list[str]:
    """The cases that are asked for, on the workload and against a peer that are asked for.

    Raises:
        InputError: no such case, link or peer; settings that exclude each other, or that change nothing.
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
    if "workload" in settings.model_fields_set:
        workloads = {WORKLOADS[name] for name in names}
        if settings.workload not in workloads:
            raise unknown("workload of these cases", settings.workload, workloads)
        names = tuple(name for name in names if WORKLOADS[name] == settings.workload)
    known = {peer for name in names for peer in PEERS[name]}
    for peer in settings.peers:
        if peer not in known:
            raise unknown("peer of these cases", peer, known)
    if settings.peers:
        names = tuple(name for name in names if set(PEERS[name]) & set(settings.peers))
    if "samples" in settings.model_fields_set and all(name in MULTIHOT for name in names):
        raise InputError(
            "--samples changes nothing: multihot draws its batches",
            got=f"--samples {settings.samples}",
            todo="give --steps and --batch-size instead",
        )
    return list(names)
