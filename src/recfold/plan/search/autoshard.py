"""AutoShard: a recurrent policy, trained with actor and critic on the balance that a cost network predicts.

Source: Zha et al., "AutoShard: Automated Embedding Table Sharding for Recommender Systems", KDD 2022 (arXiv
2208.06399). The published training is IMPALA over many actors; here all episodes of an update are played by the
policy that is updated.
"""

from recfold.plan.cost import Cost
from recfold.plan.search.learned import by_policy, shipped
from recfold.plan.task import Assignment, Task


def autoshard(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """With the policy of the package, trained on tasks of 20 to 60 tables; it was trained without knowing which ranks
    have room, and pays for what does not fit; it acts on ranks with room only."""
    return by_policy(shipped("autoshard"), task, cost, seed)
