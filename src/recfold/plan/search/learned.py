"""What the two learned searches have in common: the policy of the package plays, the best episode is the answer."""

from functools import cache

import numpy as np
import torch

from recfold.plan.cost import Cost
from recfold.plan.search.board import prepared
from recfold.plan.search.policy import Policy, act, load_policy
from recfold.plan.search.policy.scene import scene_of
from recfold.plan.task import Assignment, Task

EPISODES = 16
MOST_CELLS = 2_000_000


def by_policy(policy: Policy, task: Task, cost: Cost, seed: int) -> Assignment:
    """The most likely placement and some that are drawn, only ranks with room being chosen; the best by predicted cost.

    Pieces are cut as for all searches that choose no splits. Fewer episodes are played of very large tasks.
    """
    board = prepared(task, cost)
    if not board.pieces:
        return board.assignment(board.fallback_P)
    episodes = int(np.clip(MOST_CELLS // (len(board.pieces) * board.ranks), 1, EPISODES))
    scene = scene_of([board], episodes)
    greedy = np.arange(episodes) == 0
    played = act(policy, scene, torch.Generator().manual_seed(seed), masked=True, greedy_E=greedy)
    slowest = np.where(played.fits_E, played.ms_EN.max(1), np.inf)
    best = int(np.argmin(slowest))
    if not np.isfinite(slowest[best]):
        return board.assignment(board.fallback_P)
    ranks_P = np.zeros(len(board.pieces), np.int64)
    ranks_P[scene.order_EP[best]] = played.ranks_EP[best].numpy()
    return board.assignment(ranks_P)


@cache
def shipped(name: str) -> Policy:
    """A policy of the package."""
    return load_policy(name)[0]
