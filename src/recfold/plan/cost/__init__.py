"""What a set of pieces on a rank costs: milliseconds of a training step.

Every cost is a function of a sum over the pieces, so that a search moves a piece by two additions and rates
thousands of candidates in one call:

    pieces --rows()--> [P, K] --sum over the pieces of a rank--> [N, K] --ms()--> [N]

`analytic` is a formula, `measured` times each piece on this machine, `neural` is trained on measured sets.
"""

from recfold.plan.cost.analytic import AnalyticCost
from recfold.plan.cost.cost import Cost, rank_ms
from recfold.plan.cost.exchange import Link, LinkExchange, WithExchange
from recfold.plan.cost.measured import MeasuredCost, Stopwatch
from recfold.plan.cost.neural import NeuralCost, load_cost, shipped_cost

__all__ = [
    "AnalyticCost",
    "Cost",
    "Link",
    "LinkExchange",
    "MeasuredCost",
    "NeuralCost",
    "Stopwatch",
    "WithExchange",
    "load_cost",
    "rank_ms",
    "shipped_cost",
]
