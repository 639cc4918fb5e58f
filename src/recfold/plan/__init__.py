"""Finds a plan: which rank holds which rectangle of which embedding table; says what it costs, and why none fits."""

from recfold.plan.bound import check_cost, gap, lower_bound
from recfold.plan.explain import RankShare, shares
from recfold.plan.files import load_plan, save_plan
from recfold.plan.fits import check_fits
from recfold.plan.search import SEARCHERS, find
from recfold.plan.sizes import TableSize
from recfold.plan.unloaded import search_plan

__all__ = [
    "SEARCHERS",
    "RankShare",
    "TableSize",
    "check_cost",
    "check_fits",
    "find",
    "gap",
    "load_plan",
    "lower_bound",
    "save_plan",
    "search_plan",
    "shares",
]
