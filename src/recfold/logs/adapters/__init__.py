"""Known data sets: each adapter turns a folder as it is published into canonical logs."""

from collections.abc import Callable
from pathlib import Path

from recfold.logs.adapters.ebnerd import ebnerd
from recfold.logs.adapters.mind import mind
from recfold.logs.adapters.movielens import movielens
from recfold.logs.source import LogSource

ADAPTERS: dict[str, Callable[[Path], LogSource]] = {"ebnerd": ebnerd, "mind": mind, "movielens": movielens}

__all__ = ["ADAPTERS"]
