"""Training of policies on drawn tasks and a cost model; nothing is measured meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from recfold.plan.cost import Cost
from recfold.plan.pool import PoolTable, draw_task, table_pool, train_and_test
from recfold.plan.search.board import Board, prepared
from recfold.plan.search.policy.act import Episodes, act, rated
from recfold.plan.search.policy.nets import POLICIES, Policy
from recfold.plan.search.policy.scene import Scene, scene_of
from recfold.plan.search.single_greedy import least_loaded
from recfold.spec import InputError, unknown

LATER = 0.9
"""How much less each later step counts for the actor."""


@dataclass(frozen=True)
class PolicySettings:
    """Args:
    iterations: updates.
    tasks, episodes: drawn for each update, and played in each task.
    tables, ranks: least and most of a task.
    every: updates between two points of the curve.
    """

    iterations: int = 500
    tasks: int = 4
    episodes: int = 8
    tables: tuple[int, int] = (20, 60)
    ranks: tuple[int, int] = (4, 8)
    slacks: tuple[float | None, ...] = (1.15, 1.5, None)
    learning_rate: float = 2e-3
    entropy: float = 0.003
    every: int = 25
    seed: int = 0


@dataclass(frozen=True)
class Curve:
    """How a training went: after so many updates, the mean over tasks that it is not trained on.

    Args:
        reward: of the training's own episodes since the last point.
        slowest: slowest rank of the most likely placement over that of greedy on what each piece costs alone.
    """

    updates: tuple[int, ...]
    reward: tuple[float, ...]
    slowest: tuple[float, ...]

    def as_dict(self) -> dict[str, list[float]]:
        return {name: list(values) for name, values in asdict(self).items()}


def train_policy(
    name: str,
    cost: Cost,
    *,
    settings: PolicySettings | None = None,
    pool: Sequence[PoolTable] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Policy, Curve]:
    """Train a policy on a cost model.

    Args:
        name: autoshard (actor-critic; reward: the fastest rank's cost over the slowest's, -1 where memory is
            exceeded) or dreamshard (REINFORCE with the mean of a task's episodes as baseline; reward: what the
            slowest rank costs, over an even share, with its sign turned; only ranks with room can be chosen).
        cost: that stands for the hardware.
        pool: tables of the tasks; the train half of the default pool where None.
        progress: called with the number of updates and the last point of the curve's `slowest`.
    Returns:
        The policy and its curve. The same settings and the same cost give the same.
    Raises:
        InputError: an unknown policy.
    """
    if name not in POLICIES:
        raise unknown("policy", name, POLICIES)
    own = settings or PolicySettings()
    generator = torch.Generator().manual_seed(own.seed)
    with torch.random.fork_rng():
        torch.manual_seed(own.seed)
        policy = POLICIES[name]()
    rng = np.random.default_rng(own.seed)
    tables = train_and_test(table_pool())[0] if pool is None else pool
    held_out = [_boards(tables, cost, np.random.default_rng(10_000 + n), own, 1) for n in range(12)]
    optimizer = torch.optim.Adam(policy.parameters(), lr=own.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / own.iterations)
    points: list[tuple[int, float, float]] = []
    rewards: list[float] = []
    for update in range(own.iterations):
        scene = scene_of(_boards(tables, cost, rng, own, own.tasks), own.episodes)
        played = act(policy, scene, generator, masked=name == "dreamshard", greedy_E=_none(scene))
        reward, loss = LOSSES[name](policy, scene, played, own)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        rewards.append(float(reward.mean()))
        if update == 0 or (update + 1) % own.every == 0:
            slowest = float(np.mean([_against_greedy(policy, boards) for boards in held_out]))
            points.append((update + 1, float(np.mean(rewards)), slowest))
            rewards = []
            if progress is not None:
                progress(update + 1, slowest)
    return policy, Curve(*(tuple(values) for values in zip(*points, strict=True)))


def _boards(
    pool: Sequence[PoolTable], cost: Cost, rng: np.random.Generator, settings: PolicySettings, count: int
) -> list[Board]:
    """Tasks of equally many tables and ranks, no splits."""
    tables = int(rng.integers(settings.tables[0], min(settings.tables[1], len(pool)) + 1))
    ranks = int(rng.integers(settings.ranks[0], settings.ranks[1] + 1))
    slack = settings.slacks[int(rng.integers(len(settings.slacks)))]
    found: list[Board] = []
    while len(found) < count:
        seed = int(rng.integers(2**31))
        task = draw_task(pool, seed, num_tables=(tables, tables), devices=(ranks, ranks), memory_slack=slack)
        # little memory, and tables that do not fit together
        with suppress(InputError):
            found.append(prepared(task, cost))
    return found


def _none(scene: Scene) -> np.ndarray:
    return np.zeros(scene.shape[0], bool)


def _actor_critic(
    policy: Policy, scene: Scene, played: Episodes, settings: PolicySettings
) -> tuple[np.ndarray, Tensor]:
    """AutoShard: every step is rewarded with the balance at the end; negative by the share that does not fit."""
    reward = np.where(played.fits_E, played.ms_EN.min(1) / played.ms_EN.max(1), -np.minimum(played.excess_E, 1.0))
    log, entropy, value = rated(policy, scene, played)
    final = torch.from_numpy(reward).float()
    advantage = _advantages(value.detach(), final)
    actor = advantage / (advantage.std() + 1e-3)
    critic = 0.5 * (final[:, None] - value) ** 2
    loss = -(actor * log).sum(1) + critic.sum(1) - settings.entropy * entropy.sum(1)
    return reward, loss.mean()


def _advantages(value_EP: Tensor, final_E: Tensor) -> Tensor:
    """How much better each step turned out than expected: differences of expectations, nearer ones counting more
    (Schulman et al. 2016, generalised advantage estimation), [E, P]."""
    steps = torch.cat([value_EP[:, 1:], final_E[:, None]], 1) - value_EP
    found = torch.zeros_like(steps)
    later = torch.zeros_like(final_E)
    for step in reversed(range(steps.shape[1])):
        later = steps[:, step] + LATER * later
        found[:, step] = later
    return found


def _reinforce(policy: Policy, scene: Scene, played: Episodes, settings: PolicySettings) -> tuple[np.ndarray, Tensor]:
    """DreamShard: an episode against the mean of its task's."""
    reward = -played.ms_EN.max(1) / scene.share_ms_E
    reward = np.where(played.fits_E, reward, reward - 1)
    by_task = torch.from_numpy(reward).float().reshape(-1, settings.episodes)
    advantage = (by_task - by_task.mean(1, keepdim=True)) / (by_task.std(1, keepdim=True) + 1e-3)
    log, entropy, _ = rated(policy, scene, played)
    loss = -(advantage.reshape(-1, 1) * log).sum(1) - settings.entropy * entropy.sum(1)
    return reward, loss.mean()


LOSSES: Mapping[str, Callable[[Policy, Scene, Episodes, PolicySettings], tuple[np.ndarray, Tensor]]] = {
    "autoshard": _actor_critic,
    "dreamshard": _reinforce,
}


def _against_greedy(policy: Policy, boards: Sequence[Board]) -> float:
    scene = scene_of(boards, 1)
    played = act(policy, scene, torch.Generator(), masked=True, greedy_E=~_none(scene))
    greedy = [board.slowest_ms(least_loaded(board, board.single_ms_P)) for board in boards]
    return float((played.ms_EN.max(1) / np.array(greedy)).mean())
