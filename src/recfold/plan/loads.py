"""Loads of tables as a file: what a plan was searched with, and what a simulation needs of it."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from recfold.plan.piece import TableLoad, moved_bins
from recfold.spec import InputError, Settings


class Loads(Settings):
    """What a step of `ranks` ranks, each with a batch of `batch_size` samples, asks of each table.

    Args:
        tables: of different names.
        by_row: tables whose update rule looks at whole rows (row-wise AdaGrad).
    """

    ranks: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    tables: tuple[TableLoad, ...]
    by_row: tuple[str, ...] = ()

    def of_ranks(self, ranks: int) -> tuple[TableLoad, ...]:
        """Loads of a step of another number of ranks with the same batch each, as if each row were read so many times
        as often."""
        factor = ranks / self.ranks
        return tuple(times(load, factor) for load in self.tables)


def times(load: TableLoad, factor: float) -> TableLoad:
    """The load of so many times the lists, the bins of accesses moved by the logarithm."""
    if factor == 1 or load.lookups == 0:
        return load
    accesses = moved_bins(load.accesses, factor)
    return dataclasses.replace(load, lists=load.lists * factor, lookups=load.lookups * factor, accesses=accesses)


def load_loads(path: Path) -> Loads:
    """Read loads: a file of nothing else, or what explains a plan.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read loads {path}", got=str(error), todo="write them with `recfold plan`") from None
    if isinstance(data, dict) and isinstance(data.get("loads"), dict):
        data = data["loads"]
    return Loads.parse(data, str(path))


def write_loads(
    tables: Sequence[TableLoad], path: Path, *, ranks: int, batch_size: int, by_row: Sequence[str] = ()
) -> None:
    """Write loads of your own making, for `recfold plan` and `recfold simulate`."""
    found = Loads(ranks=ranks, batch_size=batch_size, tables=tuple(tables), by_row=tuple(sorted(by_row)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.model_dump(mode="json")) + "\n", encoding="utf-8")
