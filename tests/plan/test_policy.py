"""Policies: what they play is what they are rated by, masks hold, any number of tables and ranks, and they learn."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.search import find
from recfold.plan.search.board import prepared
from recfold.plan.search.policy import POLICIES, PolicySettings, act, load_policy, save_policy, train_policy
from recfold.plan.search.policy.act import rated
from recfold.plan.search.policy.scene import Scene, scene_of
from recfold.plan.task import Split
from recfold.spec import InputError

TRAIN, TEST = train_and_test(table_pool(num_tables=120))


def scene(cost: Cost, *, slack: float | None = 1.2, num_tables: int = 15, episodes: int = 4) -> Scene:
    tasks = [
        draw_task(TEST, seed, num_tables=(num_tables, num_tables), devices=(4, 4), memory_slack=slack)
        for seed in range(3)
    ]
    return scene_of([prepared(task, cost) for task in tasks], episodes)


@pytest.mark.parametrize("name", POLICIES)
def test_episodes_played_again_at_once_choose_what_was_chosen(name: str, cost: Cost) -> None:
    """The fast path of training, all steps in one pass, against playing step by step."""
    torch.manual_seed(0)
    policy, own = POLICIES[name](), scene(cost)
    most_likely = np.ones(own.shape[0], bool)
    played = act(policy, own, torch.Generator(), masked=True, greedy_E=most_likely)
    log, entropy, value = rated(policy, own, played)
    assert log.shape == entropy.shape == value.shape == own.shape[:2]
    # the most likely of 4 ranks has at least a quarter; its choice is the largest likelihood at each step
    assert (log.exp() >= 0.25 - 1e-5).all()
    assert (entropy >= -1e-5).all()


def test_costs_and_memory_of_an_episode_are_those_of_its_ranks(cost: Cost) -> None:
    own = scene(cost, episodes=1)
    played = act(POLICIES["dreamshard"](), own, torch.Generator(), masked=True, greedy_E=np.zeros(3, bool))
    for number, seed in enumerate(range(3)):
        task = draw_task(TEST, seed, num_tables=(15, 15), devices=(4, 4), memory_slack=1.2)
        board = prepared(task, cost)
        ranks = np.zeros(15, np.int64)
        ranks[own.order_EP[number]] = played.ranks_EP[number].numpy()
        assert bool(played.fits_E[number]) == board.fits(ranks)
        np.testing.assert_allclose(played.ms_EN[number], cost.ms(board.sums(ranks)))


@pytest.mark.parametrize("name", POLICIES)
def test_a_masked_policy_exceeds_memory_only_at_a_dead_end(name: str, cost: Cost) -> None:
    own = scene(cost, slack=1.1, episodes=16)
    played = act(POLICIES[name](), own, torch.Generator().manual_seed(0), masked=True, greedy_E=np.zeros(48, bool))
    every, held, dead = np.arange(48), np.zeros((48, 4)), np.zeros(48, bool)
    for step in range(own.shape[1]):
        dead |= ~(held + own.num_bytes_EP[:, step, None] <= own.room_E[:, None]).any(1)
        held[every, played.ranks_EP[:, step].numpy()] += own.num_bytes_EP[:, step]
        assert ((held.max(1) <= own.room_E) | dead).all()
    assert played.fits_E.tolist() == (held.max(1) <= own.room_E).tolist()
    free = act(POLICIES[name](), own, torch.Generator().manual_seed(0), masked=False, greedy_E=np.zeros(48, bool))
    assert free.fits_E.mean() < played.fits_E.mean()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("num_tables, devices", [(20, 4), (60, 16), (1, 3)])
def test_the_policies_of_the_package_take_any_number_of_tables_and_ranks(
    name: str, num_tables: int, devices: int, cost: Cost
) -> None:
    splits: frozenset[Split] = frozenset({"columns", "rows"})
    task = draw_task(TEST, 5, num_tables=(num_tables, num_tables), devices=(devices, devices), splits=splits)
    found = find(task, cost, search=name)
    assert len(found.pieces) >= num_tables
    if num_tables > 1:
        random = [rank_ms(find(task, cost, search="random", seed=seed), task, cost).max() for seed in range(5)]
        assert rank_ms(found, task, cost).max() < np.median(random)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_learns_and_survives_its_files(name: str, cost: Cost, tmp_path: Path) -> None:
    settings = PolicySettings(
        iterations=60, tasks=4, episodes=6, tables=(10, 12), ranks=(4, 4), slacks=(None,), every=30, seed=1
    )
    # without tables that decide a task alone
    pool = [table for table in TRAIN if 10_000 < table.lookups < 100_000]
    policy, curve = train_policy(name, cost, settings=settings, pool=pool)
    assert curve.updates == (1, 30, 60)
    assert curve.reward[-1] > curve.reward[0] + 0.05
    save_policy(policy, name, {"curve": curve.as_dict()}, tmp_path)
    read, about = load_policy(name, tmp_path)
    assert about["curve"]["slowest"] == list(curve.slowest)
    for own, other in zip(policy.state_dict().values(), read.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    (tmp_path / f"{name}.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=rf"cannot read policy '{name}'.*train_policy"):
        load_policy(name, tmp_path)


def test_the_same_seed_trains_the_same(cost: Cost) -> None:
    settings = PolicySettings(iterations=3, tasks=2, episodes=2, tables=(6, 6), ranks=(2, 2), every=1)
    curves = [train_policy("dreamshard", cost, settings=settings, pool=TRAIN)[1] for _ in range(2)]
    assert curves[0] == curves[1]


def test_an_unknown_policy_answers_with_the_right_ones(cost: Cost) -> None:
    with pytest.raises(InputError, match=r"unknown policy 'dreamshart'.*did you mean 'dreamshard'"):
        train_policy("dreamshart", cost)
    with pytest.raises(InputError, match="unknown policy"):
        load_policy("dreamshart")
