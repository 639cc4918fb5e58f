"""Fits the formula of pieces that training's torch kernel serves: column shards of row-wise rules, replicated tables.

Each piece is timed twice, by FBGEMM and by torch, and the formula is fitted to both on this one machine, so that what
ships is a ratio of the two: `recfold.plan.cost.as_trained`. Some minutes of one core; `--sets` for fewer.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import recfold.plan.cost.as_trained as as_trained
from recfold.plan.cost import Stopwatch
from recfold.plan.cost.analytic import fit_analytic, terms
from recfold.plan.cost.hardware import hardware
from recfold.plan.cost.sets import scaled
from recfold.plan.piece import Piece
from recfold.plan.pool import DIMS, table_pool
from recfold.spec import last_level_cache_bytes

LARGEST_BYTES = 1_000_000_000
FEWEST_LOOKUPS = 500


def draw_piece(random: np.random.Generator) -> Piece:
    """A piece of one table: any width, lists as they are or up to 32 times fewer."""
    pool = table_pool()
    while True:
        load = pool[int(random.integers(len(pool)))].load(int(random.choice(np.array([*DIMS, 8]))))
        load = scaled(load, 2.0 ** random.uniform(-5, 1))
        if load.lookups >= FEWEST_LOOKUPS and load.num_bytes <= LARGEST_BYTES:
            return load.whole()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--sets", type=int, default=160)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=as_trained.SHIPPED)
    own = asked.parse_args()
    random = np.random.default_rng(own.seed)
    pieces = [draw_piece(random) for _ in range(own.sets)]
    ways = {"fbgemm": Stopwatch(repeats=3), "torch": Stopwatch(kernel="torch", repeats=3)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    forward: dict[str, list[float]] = {name: [] for name in ways}
    for number, piece in enumerate(pieces):
        for name, stopwatch in ways.items():
            timing = stopwatch.measure([piece], seed=number)
            found[name].append(timing.ms)
            forward[name].append(timing.forward_ms / timing.ms)
        print(number, piece.dim, round(piece.lookups), *(f"{name} {ms[-1]:.2f}" for name, ms in found.items()))
    train, held = np.arange(own.sets) % 4 > 0, np.arange(own.sets) % 4 == 0
    known = [terms([piece]) for piece in pieces]
    facts: dict[str, object] = {"hardware": hardware(), "pieces": own.sets}
    ratio = np.array(found["torch"]) / np.array(found["fbgemm"])
    facts["ratio_quantiles"] = np.round(np.quantile(ratio, [0.1, 0.5, 0.9]), 3).tolist()
    for name, ms in found.items():
        times = np.array(ms)
        fitted = fit_analytic(
            [k for k, use in zip(known, train, strict=True) if use], times[train], last_level_cache_bytes()
        )
        predicted = fitted.ms(fitted.rows([piece for piece, use in zip(pieces, held, strict=True) if use]))
        share = round(float(np.median(forward[name])), 3)
        facts[name] = {"ns": list(fitted.ns), "cache_bytes": fitted.cache_bytes, "forward_share": share}
        facts[f"{name}_error"] = round(float(np.abs(predicted / times[held] - 1).mean()), 4)
    own.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print({name: facts[name] for name in ("ratio_quantiles", "torch_error", "fbgemm_error")})


if __name__ == "__main__":
    main()
