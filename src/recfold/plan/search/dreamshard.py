"""DreamShard: a policy trained with REINFORCE on what a cost network predicts, choosing among ranks with room.

Source: Zha et al., "DreamShard: Generalizable Embedding Table Placement for Recommender Systems", NeurIPS 2022 (arXiv
2210.02023). The published system fits its cost network meanwhile, from 100 measurements; here it is fitted before.
"""

from recfold.plan.cost import Cost
from recfold.plan.search.learned import by_policy, shipped
from recfold.plan.task import Assignment, Task


def dreamshard(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """With the policy of the package, trained on tasks of 20 to 60 tables."""
    return by_policy(shipped("dreamshard"), task, cost, seed)
