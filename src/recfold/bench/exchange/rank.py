"""A rank of the bench: its batches, and the sides that it trains together with the other ranks."""

import gc
import time
from pathlib import Path
from typing import Any

import torch.distributed as dist

from recfold.batch import Batch
from recfold.bench.exchange.sides import RankSide, build_rank_side
from recfold.bench.exchange.tap import Tap
from recfold.bench.training.batches import read_batches, training_schema
from recfold.spec import InputError, Settings
from recfold.table import open_table
from recfold.train import RunSettings
from recfold.train.ranks import current_ranks


class RankTask(Settings):
    """What a rank is started with.

    Args:
        rank, size: which of how many.
        meet: file where ranks find each other.
        table: path of the folded table.
        run: settings of training.
        table_rows: see `BenchSettings`.
        batches: most that this rank keeps in memory.
    """

    rank: int
    size: int
    meet: Path
    table: Path
    run: RunSettings
    table_rows: int | None
    batches: int


class Rank:
    """Sides on this rank, and its batches: every so many of those that one process would read.

    Raises:
        InputError: too few training samples for a full batch on every rank.
    """

    def __init__(self, task: RankTask, tap: Tap) -> None:
        self.ranks, self._tap, self._run = current_ranks(), tap, task.run
        table = open_table(task.table)
        self._schema = training_schema(table, task.run, task.table_rows)
        found = read_batches(table, self._schema, task.run, task.batches * task.size)
        each = len(found) // task.size
        if not each:
            raise InputError(
                "there are fewer full training batches than ranks",
                got=f"{len(found)}",
                expected=f"at least {task.size}",
                todo="give more --samples or a smaller --batch-size",
            )
        self.batches: list[Batch] = found[task.rank :: task.size][:each]
        self._sides: dict[str, RankSide] = {}

    def about(self) -> dict[str, Any]:
        """How many batches there are, and how often their lists repeat."""
        groups = self.batches[0].groups
        factors = {name: [batch.groups[name].index.dedup_factor for batch in self.batches] for name in groups}
        return {
            "batches": len(self.batches),
            "dedup_factors": {name: round(sum(own) / len(own), 3) for name, own in factors.items()},
        }

    def build(self, side: str) -> dict[str, Any]:
        """Build a side."""
        self._sides[side] = build_rank_side(side, self._schema, self._run, self.ranks, self._tap)
        gc.collect()
        self._tap.take()
        return {}

    def train(self, side: str, batches: list[int]) -> dict[str, Any]:
        """Steps on these batches, one after the other, started together on all ranks."""
        own = self._sides[side]
        prepared = [own.prepare(self.batches[number]) for number in batches]
        gc.collect()
        dist.barrier()
        cpu, start = time.process_time(), time.perf_counter()
        losses = own.steps(prepared)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        return {
            "losses": losses,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "sent": own.sent(),
            "waited_ms": own.waited_ms(),
        }
