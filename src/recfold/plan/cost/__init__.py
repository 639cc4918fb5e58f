"""What a set of pieces on a rank costs: milliseconds of a training step.

Every cost is a function of a sum over the pieces, so that a search moves a piece by two additions and rates
thousands of candidates in one call:

    pieces --rows()--> [P, K] --sum over the pieces of a rank--> [N, K] --ms()--> [N]
"""

from recfold.plan.cost.cost import Cost, rank_ms

__all__ = ["Cost", "rank_ms"]
