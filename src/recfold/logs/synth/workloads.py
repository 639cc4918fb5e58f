"""The standard workloads, as numbers."""

from dataclasses import dataclass, replace

from recfold.spec import InputError, unknown

VOCABULARY = 200_000
NUM_USER_FEATURES = 20
NUM_ITEM_FEATURES = 6
NUM_DENSE = 13
MEAN_LENGTH = 20.0
MAX_ITEM_IDS = 3
WINDOW_LENGTH = 100
ACTIONS = 32
ACTION_ROWS = 1_024
"""Rows of the actions' table: wide enough that hashing keeps 32 actions apart."""
CATALOG_ITEMS = 2_000
CONTENT_WIDTH = 256
NUM_FIELDS = 40
FIELD_IDS = 15
FIELD_VOCABULARY = 250_000
FIELD_DIM = 8


@dataclass(frozen=True)
class Workload:
    """One standard workload.

    Args:
        name: a key of `WORKLOADS`.
        change: for each user group, the probability that its lists are drawn again at the next sample of a session.
        shift: for each window group, the probability that its window moves on by one.
        shares: of the variance of the label's log-odds, by part (see `truth`); they add up to 1.
        items: how many items are in circulation, each with long id lists and a content vector of its own; 0 for short
            lists that are drawn for every sample.
        fields: how many fields there are, lists of `FIELD_IDS` ids that are drawn for every sample. Where there are any
            they are the only features: none of users, items, windows and no dense ones.
    """

    name: str
    change: tuple[float, ...]
    shift: tuple[float, ...]
    shares: dict[str, float]
    items: int = 0
    fields: int = 0

    @property
    def vocabulary(self) -> int:
        """How many ids an id list draws from."""
        return FIELD_VOCABULARY if self.fields else VOCABULARY


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            name="pooled",
            change=(0.02, 0.05, 0.1, 0.2),
            shift=(),
            shares={"dense": 0.68, "dense_product": 0.02, "item": 0.23, "user": 0.05, "user_item": 0.02},
        ),
        Workload(
            name="catalog",
            change=(0.02, 0.05, 0.1, 0.2),
            shift=(),
            shares={
                "dense": 0.66,
                "dense_product": 0.02,
                "item": 0.15,
                "content": 0.10,
                "user": 0.05,
                "user_item": 0.02,
            },
            items=CATALOG_ITEMS,
        ),
        Workload(
            name="sequence",
            change=(0.02, 0.05, 0.1, 0.2),
            shift=(0.05, 0.05),
            shares={
                "dense": 0.66,
                "dense_product": 0.02,
                "item": 0.20,
                "user": 0.04,
                "user_item": 0.02,
                "history": 0.06,
            },
        ),
        Workload(
            name="multihot",
            change=(),
            shift=(),
            shares={"field": 0.9, "field_pair": 0.1},
            fields=NUM_FIELDS,
        ),
    )
}


def workload_named(name: str, repeat: float | None, change: tuple[float, ...] | None) -> Workload:
    """A workload with its change probabilities replaced.

    Args:
        name: a key of `WORKLOADS`.
        repeat: probability that a user or window group does *not* change at the next sample, for all of them; None
            keeps the workload's own.
        change: one probability of change for each user group; the 20 user features are dealt to the groups evenly.
    Raises:
        InputError: no such workload, a probability outside [0, 1], groups that 20 features cannot be dealt to, or
            either of the two for a workload of fields.
    """
    if name not in WORKLOADS:
        raise unknown("workload", name, WORKLOADS)
    workload = WORKLOADS[name]
    if repeat is not None and change is not None:
        raise InputError("both repeat and change are given", todo="give one of them")
    if workload.fields and (repeat is not None or change is not None):
        raise InputError(
            f"every sample of workload {name} has lists of its own: nothing repeats",
            got=f"change {change}" if repeat is None else f"repeat {repeat}",
            todo="leave it out",
        )
    if repeat is not None:
        _check_probability("repeat", repeat)
        return replace(
            workload,
            change=tuple(1 - repeat for _ in workload.change),
            shift=tuple(1 - repeat for _ in workload.shift),
        )
    if change is not None:
        for chance in change:
            _check_probability("change", chance)
        if not change or NUM_USER_FEATURES % len(change):
            raise InputError(
                "the user features cannot be dealt to the groups evenly",
                got=f"{len(change)} probabilities",
                expected=f"a divisor of {NUM_USER_FEATURES}",
            )
        return replace(workload, change=tuple(change))
    return workload


def _check_probability(what: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{what} is not a probability", got=value, expected="0 to 1")
