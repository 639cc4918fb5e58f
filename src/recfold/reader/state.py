"""The state of a reader as JSON values, and what is checked before one is loaded."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from recfold.reader.dealing import Deal
from recfold.reader.settings import Order, ReaderSettings
from recfold.spec import InputError, Settings


class _State(Settings):
    version: int
    table: str
    split: str
    order: Order
    seed: int
    block_samples: int
    shuffle_window: int
    epoch: int = Field(ge=0)
    deals: tuple[tuple[int, int, int], ...] = Field(min_length=1)


def state_of(checksum: str, split: str, settings: ReaderSettings, epoch: int, deals: Sequence[Deal]) -> dict[str, Any]:
    """The state after some deals of an epoch: enough for every rank of any number of ranks.

    Args:
        checksum: of the table's manifest.
    """
    return {
        "version": 1,
        "table": checksum,
        "split": split,
        "order": settings.order,
        "seed": settings.seed,
        "block_samples": settings.block_samples,
        "shuffle_window": settings.shuffle_window,
        "epoch": epoch,
        "deals": [list(deal) for deal in deals],
    }


def checked_deals(state: dict[str, Any], checksum: str, split: str, settings: ReaderSettings) -> tuple[int, list[Deal]]:
    """Epoch and deals of a state.

    Raises:
        InputError: it is not a reader's state, or one made with something else that decides the order.
    """
    found = _State.parse(state, "the reader's state")
    if found.version != 1:
        raise InputError("the reader's state has an unknown version", got=found.version, expected=1)
    if found.table != checksum:
        raise InputError(
            "the reader's state is of another folded table",
            got=f"manifest checksum {found.table}",
            expected=checksum,
            todo="resume on the table that the run began with",
        )
    own = {
        "split": split,
        "order": settings.order,
        "seed": settings.seed,
        "block_samples": settings.block_samples,
        "shuffle_window": settings.shuffle_window,
    }
    for name, value in own.items():
        if getattr(found, name) != value:
            raise InputError(
                f"the reader's state was made with another {name}",
                got=repr(getattr(found, name)),
                expected=repr(value),
                todo=f"set {name} to what it was, or start a new epoch",
            )
    deals = [Deal(*deal) for deal in found.deals]
    for deal in deals:
        if deal.world_size < 1 or deal.batch_size < 1 or deal.steps < 0:
            raise InputError("the reader's state is damaged", got=f"deal {list(deal)}")
    return found.epoch, deals
