"""Fold logs: join, sessionise, cluster, find what is distinct, choose groups, and write a folded table."""

from recfold.fold.fold_logs import fold
from recfold.fold.settings import FoldSettings
from recfold.front_door import make_callable

__all__ = ["FoldSettings", "fold"]

make_callable("recfold.fold")
