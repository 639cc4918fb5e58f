"""Trains the policies of the searches `autoshard` and `dreamshard`, writes their weights into the package and their
curves into docs/figures/policies.svg.

    python docs/make_policies.py                        both, on the cost network of the package
    python docs/make_policies.py --cost analytic        on the formula
    python docs/make_policies.py --cost my.safetensors --out folder       on a network of one's own
    python docs/make_policies.py --transfer             what they do on other tables and on more of them
    python docs/make_policies.py --figure-only          the figure from the curves in the package

A few minutes on one core.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.search import find
from recfold.plan.search.policy import POLICIES, PolicySettings, save_policy, train_policy
from recfold.plan.search.policy.files import MODELS

# Not told which ranks have room, AutoShard learns little but memory where most episodes exceed it.
SLACKS: dict[str, tuple[float | None, ...]] = {"autoshard": (2.0, None, None), "dreamshard": (1.15, 1.5, None)}
SINGLE = ("size", "dim", "lookup", "size-lookup")
FIGURE = Path(__file__).parent / "figures" / "policies.svg"


def cost_of(name: str) -> Cost:
    """A cost by its name, or from a file that `recfold cost fit` wrote."""
    if name == "analytic":
        from recfold.plan.cost.analytic import AnalyticCost

        return AnalyticCost()
    from recfold.plan.cost import load_cost, shipped_cost

    return shipped_cost() if name == "neural" else load_cost(Path(name))


def figure(folder: Path) -> None:
    """Slowest rank over that of the greedy search, and reward, by updates."""
    plt.rcParams.update({"svg.hashsalt": "recfold", "font.size": 9})
    drawn, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for name in POLICIES:
        curve = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["curve"]
        axes[0].plot(curve["updates"], curve["slowest"], label=name)
        axes[1].plot(curve["updates"], curve["reward"], label=name)
    axes[0].axhline(1.0, color="gray", linewidth=0.8)
    axes[0].set(xlabel="updates", ylabel="slowest rank / single-cost greedy", ylim=(None, 1.4))
    axes[1].set(xlabel="updates", ylabel="reward of training episodes")
    axes[0].legend()
    FIGURE.parent.mkdir(exist_ok=True)
    drawn.savefig(FIGURE, metadata={"Date": None})


def transfer(cost: Cost) -> None:
    """Slowest rank over that of cost-greedy: seen and unseen tables, as many as in training and 200."""
    train, test = train_and_test(table_pool())
    rng = np.random.default_rng(0)
    mixed = [own[place] for own in (train, test) for place in rng.permutation(len(own))[: len(own) // 2].tolist()]
    for unseen, pool in (("0 %", train), ("50 %", mixed), ("100 %", test)):
        for tables in ((20, 60), (200, 200)):
            slowest: dict[str, list[float]] = {name: [] for name in (*SINGLE, "cost-greedy", *POLICIES)}
            for seed in range(1000, 1020):
                task = draw_task(pool, seed, num_tables=tables)
                for name, found in slowest.items():
                    found.append(float(rank_ms(find(task, cost, search=name), task, cost).max()))
            over = {name: np.array(found) / np.array(slowest["cost-greedy"]) for name, found in slowest.items()}
            single = np.median(np.min([over[name] for name in SINGLE], axis=0))
            shown = ", ".join(f"{name} {np.median(over[name]):.3f}" for name in POLICIES)
            print(f"{unseen} unseen, {tables} tables: best single-table greedy {single:.3f}, {shown}", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cost", default="neural")
    asked.add_argument("--out", type=Path, default=MODELS)
    asked.add_argument("--policy", choices=list(POLICIES), help="one of them only")
    asked.add_argument("--iterations", type=int, default=PolicySettings().iterations)
    asked.add_argument("--transfer", action="store_true")
    asked.add_argument("--figure-only", action="store_true")
    own = asked.parse_args()
    torch.set_num_threads(1)
    if own.transfer:
        transfer(cost_of(own.cost))
        return
    if not own.figure_only:
        cost = cost_of(own.cost)
        for name in [own.policy] if own.policy else POLICIES:
            settings = PolicySettings(iterations=own.iterations, slacks=SLACKS[name])
            policy, curve = train_policy(
                name,
                cost,
                settings=settings,
                progress=lambda update, slowest, name=name: print(f"{name} {update}: {slowest:.4f}", flush=True),
            )
            save_policy(
                policy, name, {"cost": cost.name, "settings": asdict(settings), "curve": curve.as_dict()}, own.out
            )
    if all((own.out / f"{name}.json").exists() for name in POLICIES) and own.out == MODELS:
        figure(own.out)


if __name__ == "__main__":
    main()
