"""One list as plain Python values: what the slow twins work on."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One list: its values (None for a null element) and its weights, if it has any."""

    values: list[Any]
    weights: list[float] | None = None
