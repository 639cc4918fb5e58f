"""train-pooled and train-sequence: samples a second of whole training steps, peak memory, and the largest batch."""

import gc
from collections.abc import Sequence
from typing import Any

import torch

from recfold.batch import Batch
from recfold.bench.facts import machine_facts, peer_versions
from recfold.bench.measurement import Measurement, of_speeds
from recfold.bench.settings import BenchSettings
from recfold.bench.training.batches import read_batches, training_schema
from recfold.bench.training.cases import OURS, TrainCase, chosen_cases, run_settings
from recfold.bench.training.dump import write_dump
from recfold.bench.training.memory import MemoryTask, measured
from recfold.bench.training.parity import TOLERANCES, check_losses
from recfold.bench.training.peak import can_measure
from recfold.bench.training.sides import Side, build_side
from recfold.bench.training.timing import step_seconds
from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.bench.work import Work
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.learner import resolve_device

REPEATS = {"train-pooled": 20, "train-sequence": 5}
"""Timed steps of each side; one of the plain ways through a transformer takes seconds."""
PLAIN = "fold-off"


def train_pooled(work: Work, settings: BenchSettings) -> list[Measurement]:
    """DLRM on pooled features: `pooled`, `one-group`, `catalog`, `no-repeats`."""
    return _train("train-pooled", work, settings)


def train_sequence(work: Work, settings: BenchSettings) -> list[Measurement]:
    """Histories through a transformer, then DLRM: `sequence`."""
    return _train("train-sequence", work, settings)


def _train(bench: str, work: Work, settings: BenchSettings) -> list[Measurement]:
    cases = chosen_cases(bench, settings)
    if settings.dump is not None:
        for case in cases:
            if (settings.dump / case.name).exists():
                raise InputError(f"{settings.dump / case.name} exists", todo="name another folder, or remove it")
    installed = _installed(work)
    found = []
    for case in cases:
        peers = [name for name in case.peers if installed or not name.startswith("torchrec")]
        found += _Case(bench, case, peers, work.of(case.workload, case.change), settings).measurements()
    return found


def _installed(work: Work) -> bool:
    try:
        torchrec_modules()
    except InputError as error:
        work.tell(f"the peers torchrec-* are left out: {error}")
        return False
    return True


class _Case:
    """One case on its logs."""

    def __init__(self, bench: str, case: TrainCase, peers: Sequence[str], work: Work, settings: BenchSettings) -> None:
        self.bench, self.case, self.peers, self.work, self.settings = bench, case, list(peers), work, settings
        self.table: FoldedTable = work.table()
        self.run: RunSettings = run_settings(case, settings)
        self.schema: Schema = training_schema(self.table, self.run, settings.table_rows)
        self.repeats = settings.repeats or REPEATS[bench]

    def measurements(self) -> list[Measurement]:
        """Every metric that is asked for, against every peer."""
        wanted = self.settings.metrics
        found = self._speeds() if "samples_per_s" in wanted or self.settings.dump is not None else []
        if "peak_memory" in wanted or "largest_batch" in wanted:
            if not can_measure(resolve_device(self.run.train.device)):
                self.work.tell(f"{self.case.name}: peak memory is measured on Linux and on CUDA only")
                return found
            facts = self._facts(read_batches(self.table, self.schema, self.run, 1))
            peaks = self._peaks(facts) if "peak_memory" in wanted else []
            found += peaks
            if "largest_batch" in wanted:
                found.append(self._largest(peaks, facts))
        return found

    def _speeds(self) -> list[Measurement]:
        batches = read_batches(self.table, self.schema, self.run, max(self.repeats, len(TOLERANCES)))
        sides = self._sides()
        self._say("compare the losses of all sides")
        losses = check_losses(sides, batches)
        if self.settings.dump is not None:
            self._say("write the dump")
            write_dump(self.settings.dump, self.case, self.schema, self.run, batches, losses)
        if "samples_per_s" not in self.settings.metrics:
            return []
        seconds = step_seconds(sides, batches, self.repeats, self.case.name, self.work.progress)
        facts = {**self._facts(batches), "repeats": self.repeats, "first_losses": losses}
        return [
            of_speeds(self.bench, self.case.name, self.case.batch_size, (seconds[OURS], seconds[name]), name, facts)
            for name in self.peers
        ]

    def _sides(self) -> dict[str, Side]:
        sides = {}
        for name in (OURS, *self.peers):
            self._say(f"build {name}")
            sides[name] = build_side(name, self.schema, self.run)
        gc.collect()
        return sides

    def _peaks(self, facts: dict[str, Any]) -> list[Measurement]:
        names = (OURS, *self.peers)
        peaks = {}
        for number, name in enumerate(names):
            peaks[name] = self._measured(name)
            if self.work.progress is not None:
                self.work.progress(f"{self.case.name}: peak memory", number + 1, len(names))
        ours = peaks.pop(OURS)
        return [
            Measurement(
                self.bench, self.case.name, "peak_memory", ours, peer, name, peer / max(ours, 1), "bytes", facts
            )
            for name, peer in peaks.items()
        ]

    def _largest(self, found: Sequence[Measurement], facts: dict[str, Any]) -> Measurement:
        """The largest batch below a limit: what is given, or the peak of the plain way at the case's batch size."""
        if self.settings.memory_mb is not None:
            limit = self.settings.memory_mb << 20
        else:
            limit = next((int(one.peer) for one in found if one.peer_name == PLAIN), 0) or self._measured(PLAIN)
        self._say(f"the largest batch within {limit:,} bytes")
        ours, plain = (self._measured(name, limit) for name in (OURS, PLAIN))
        about = {**facts, "limit_bytes": limit}
        ratio = ours / max(plain, 1)
        return Measurement(self.bench, self.case.name, "largest_batch", ours, plain, PLAIN, ratio, "samples", about)

    def _measured(self, side: str, limit: int | None = None) -> int:
        return measured(
            MemoryTask(
                table=self.table.path,
                side=side,
                settings=self.run,
                table_rows=self.settings.table_rows,
                threads=torch.get_num_threads(),
                limit_bytes=limit,
            )
        )

    def _say(self, what: str) -> None:
        if self.work.progress is not None:
            self.work.progress(f"{self.case.name}: {what}", 0, None)

    def _facts(self, batches: Sequence[Batch]) -> dict[str, Any]:
        groups, machine = batches[0].groups, machine_facts()
        return {
            "workload": self.case.workload,
            "samples": self.settings.samples,
            "seed": self.settings.seed,
            "batch_size": self.case.batch_size,
            "change": self.case.change,
            "table_rows": self.settings.table_rows,
            "dedup_factors": {
                name: round(sum(b.groups[name].index.dedup_factor for b in batches) / len(batches), 3)
                for name in groups
            },
            "batches": len(batches),
            "order": self.run.train.order,
            "device": str(resolve_device(self.run.train.device)),
            "threads": torch.get_num_threads(),
            "run": self.run.model_dump(mode="json"),
            **machine,
            "versions": machine["versions"] | peer_versions(),
        }
