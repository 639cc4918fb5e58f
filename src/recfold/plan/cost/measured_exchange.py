"""All-to-alls between processes of this machine, timed: what the exchange heads are fitted to."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing

WARM_UPS, REPEATS = 1, 5
BYTES = (10.0, 24.0)
"""log2 of what a rank sends in all, from, to."""


def measure_exchanges(ranks: int, rounds: int, seed: int = 0) -> list[dict[str, float]]:
    """Time all-to-alls of random sizes on Gloo.

    Args:
        ranks: processes that are started, one thread each.
        rounds: sizes that are drawn.
    Returns:
        One object a rank and round: ranks, own_bytes, most_bytes (of the busiest rank), forward_ms (each rank sends
        its bytes, spread evenly) and backward_ms (it receives them): wall-clock, the fastest repeat.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_rank, (ranks, rounds, seed, folder), nprocs=ranks)
        found: list[dict[str, float]] = []
        for rank in range(ranks):
            found += json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8"))
    return found


def draw_bytes(ranks: int, rounds: int, seed: int) -> np.ndarray:
    """Bytes that each rank sends to all others together, int64 [rounds, ranks]: around a size drawn on a logarithmic
    scale, from equal to very unequal."""
    random = np.random.default_rng([seed, ranks])
    middle = random.uniform(*BYTES, size=(rounds, 1))
    spread = random.uniform(0, 1.5, size=(rounds, 1)) * random.normal(size=(rounds, ranks))
    each = 2 ** np.clip(middle + spread, *BYTES) / (ranks - 1)
    return np.ceil(each / 4).astype(np.int64) * 4 * (ranks - 1)


def _rank(rank: int, ranks: int, rounds: int, seed: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    found = []
    for sent in draw_bytes(ranks, rounds, seed):
        sizes = [int(own) // (ranks - 1) // 4 for own in sent]
        out = [0 if other == rank else sizes[rank] for other in range(ranks)]
        into = [0 if other == rank else sizes[other] for other in range(ranks)]
        found.append(
            {
                "ranks": ranks,
                "own_bytes": int(sent[rank]),
                "most_bytes": int(sent.max()),
                "forward_ms": _fastest_ms(out, into),
                "backward_ms": _fastest_ms(into, out),
            }
        )
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def _fastest_ms(out: list[int], into: list[int]) -> float:
    source, target = torch.ones(sum(out)), torch.empty(sum(into))
    fastest = float("inf")
    for turn in range(WARM_UPS + REPEATS):
        dist.barrier()
        start = time.perf_counter()
        dist.all_to_all_single(target, source, into, out)
        if turn >= WARM_UPS:
            fastest = min(fastest, (time.perf_counter() - start) * 1e3)
    return fastest
