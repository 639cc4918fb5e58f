"""The cases of the training benches: on what logs, which model, against whom."""

from dataclasses import dataclass, replace

from recfold.bench.settings import BenchSettings
from recfold.spec import InputError, unknown
from recfold.train import RunSettings

OURS = "recfold"
"""The side that is measured: `recfold train --fold on`."""
ONE_GROUP = (0.05,)
POOLED_GROUPS = (0.02, 0.05, 0.1, 0.2)
_POOLED_PEERS = ("torchrec-kjt", "torchrec-vbe", "fold-off", "lookups-only")


@dataclass(frozen=True)
class TrainCase:
    """One case.

    Args:
        workload: of the logs.
        change: probability of change of each user group; None for the workload's own.
        model: of `recfold train`.
        batch_size: B where the user does not say otherwise.
        peers: sides that it is measured against, in the order of the ladder where they are our own ways.
    """

    name: str
    workload: str
    change: tuple[float, ...] | None
    model: str
    batch_size: int
    peers: tuple[str, ...]


POOLED = TrainCase("pooled", "pooled", None, "dlrm", 4096, _POOLED_PEERS)
CASES: dict[str, tuple[TrainCase, ...]] = {
    "train-pooled": (
        POOLED,
        TrainCase("one-group", "pooled", ONE_GROUP, "dlrm", 4096, _POOLED_PEERS),
        TrainCase("catalog", "catalog", None, "dlrm", 4096, _POOLED_PEERS),
        TrainCase("no-repeats", "pooled", (1.0,) * 4, "dlrm", 4096, _POOLED_PEERS),
    ),
    "train-sequence": (
        TrainCase(
            "sequence",
            "sequence",
            None,
            "sequence",
            2048,
            ("torchrec-padded", "fold-off", "lookups-only", "encoders-only"),
        ),
    ),
}


def chosen_cases(bench: str, settings: BenchSettings) -> list[TrainCase]:
    """The cases of a bench that the settings ask for, with the settings' peers, batch size and groups.

    Raises:
        InputError: no such case or peer, none on that workload, or groups that the user features cannot be dealt to.
    """
    known = {case.name: case for case in CASES[bench]}
    for name in settings.cases:
        if name not in known:
            raise unknown(f"case of {bench}", name, known)
    peers = list(dict.fromkeys(peer for case in known.values() for peer in case.peers))
    for name in settings.peers:
        if name not in peers:
            raise unknown(f"peer of {bench}", name, peers)
    given = settings.model_fields_set
    change = None if settings.groups is None else change_of(settings.groups)
    found = [case for name, case in known.items() if not settings.cases or name in settings.cases]
    if "workload" in given:
        found = [case for case in found if case.workload == settings.workload]
    if change is not None:
        found = [replace(case, change=change) for case in found if case.change is None]
    if settings.peers:
        found = [replace(case, peers=tuple(p for p in case.peers if p in settings.peers)) for case in found]
    if "batch_size" in given:
        found = [replace(case, batch_size=settings.batch_size) for case in found]
    if not found:
        raise InputError(
            f"{bench} has no such case",
            got=", ".join(
                f"{name} {getattr(settings, name)}" for name in ("cases", "workload", "groups") if name in given
            ),
            expected=", ".join(f"{case.name} (workload {case.workload})" for case in known.values()),
            todo="--groups goes with cases that do not say their own groups" if change is not None else None,
        )
    return found


def change_of(groups: str) -> tuple[float, ...]:
    """What `--groups` means: `4` the workload's own four groups, `1` one group with p = 0.05, another number so many
    groups with those four probabilities in turn; `0.02,0.1` one group for each of these probabilities.

    >>> change_of("1"), change_of("5"), change_of("0.5,1.0")
    ((0.05,), (0.02, 0.05, 0.1, 0.2, 0.02), (0.5, 1.0))

    Raises:
        InputError: neither a number of groups nor probabilities.
    """
    try:
        if "." in groups or "," in groups:
            return tuple(float(chance) for chance in groups.split(","))
        number = int(groups)
        if number < 1:
            raise ValueError
    except ValueError:
        raise InputError(
            "wrong groups", got=groups, expected="a number of groups, or probabilities of change such as 0.02,0.1"
        ) from None
    return ONE_GROUP if number == 1 else tuple(POOLED_GROUPS[group % 4] for group in range(number))


def run_settings(case: TrainCase, settings: BenchSettings) -> RunSettings:
    """What `recfold train` is told in this case."""
    train = {
        "batch_size": case.batch_size,
        "order": settings.order,
        "seed": settings.seed,
        "device": settings.device,
    }
    given = {"model": {"name": case.model}, "train": train, "reader": {"workers": 0}}
    return RunSettings.parse(given, "recfold bench")
