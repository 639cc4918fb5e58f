"""The cases of the bench `exchange` that time whole steps: over which link, with which codec, against whom."""

from dataclasses import dataclass, replace

from recfold.bench.exchange.network import LINKS
from recfold.bench.settings import BenchSettings
from recfold.bench.training.cases import POOLED
from recfold.spec import unknown
from recfold.train import RunSettings

LOOPBACK = "loopback"


@dataclass(frozen=True)
class StepCase:
    """One case.

    Args:
        link: a key of `LINKS`.
        ours: the side that is measured.
        peers: sides that it is measured against.
    """

    name: str
    link: str
    ours: str
    peers: tuple[str, ...]


STEP_CASES: dict[str, StepCase] = {
    case.name: case
    for case in (
        StepCase(LOOPBACK, LOOPBACK, "recfold", ("torchrec-kjt", "torchrec-vbe")),
        *(StepCase(codec, LOOPBACK, f"recfold-{codec}", ("torchrec-kjt",)) for codec in ("fp16", "bf16", "int8")),
        StepCase("1gbit", "1gbit", "recfold", ("torchrec-kjt", "no-overlap", "waves")),
    )
}


def step_case(name: str, settings: BenchSettings) -> StepCase:
    """A case with the settings' peers and, over a limited link, their codec."""
    case = STEP_CASES[name]
    if case.link != LOOPBACK and settings.codec not in (None, "fp32"):
        case = replace(case, ours=f"recfold-{settings.codec}")
    if settings.peers:
        case = replace(case, peers=tuple(peer for peer in case.peers if peer in settings.peers))
    return case


def asked_case(settings: BenchSettings) -> str | None:
    """The one case that `--link` and `--codec` mean; None where neither is given.

    Raises:
        InputError: no such link.
    """
    if settings.link is not None and settings.link not in LINKS:
        raise unknown("link", settings.link, LINKS)
    if settings.link not in (None, LOOPBACK):
        return settings.link
    if settings.link is None and settings.codec is None:
        return None
    return LOOPBACK if settings.codec in (None, "fp32") else settings.codec


def exchange_run(settings: BenchSettings) -> RunSettings:
    """What `recfold train` is told: the workload's model on CPUs."""
    train = {
        "batch_size": settings.batch_size,
        "order": settings.order,
        "seed": settings.seed,
        "device": "cpu",
    }
    given = {"model": {"name": POOLED.model}, "train": train, "reader": {"workers": 0}}
    return RunSettings.parse(given, "recfold bench")
