"""One small case of each training bench: a few hundred samples, few rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from recfold.batch import Batch
from recfold.bench import BenchSettings
from recfold.bench.training.batches import read_batches, training_schema
from recfold.bench.training.cases import CASES, TrainCase, chosen_cases, run_settings
from recfold.bench.work import Work
from recfold.spec import Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings

NAMES = [(bench, case.name) for bench, cases in CASES.items() for case in cases]


@dataclass(frozen=True)
class Small:
    """A case with all that a side is built from."""

    settings: BenchSettings
    case: TrainCase
    table: FoldedTable
    run: RunSettings
    schema: Schema
    batches: list[Batch]


@pytest.fixture(scope="session")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench-training")


@pytest.fixture(scope="session")
def make_settings(bench_folder: Path) -> Callable[..., BenchSettings]:
    """Settings of a small bench, with whatever else is given."""

    def make(**more: object) -> BenchSettings:
        given = {"samples": 500, "seed": 3, "repeats": 2, "batch_size": 96, "table_rows": 300, "folder": bench_folder}
        return BenchSettings.parse({**given, **more}, "a test")

    return make


@pytest.fixture(scope="session", params=NAMES, ids=[name for _, name in NAMES])
def small(request: pytest.FixtureRequest, bench_folder: Path, make_settings: Callable[..., BenchSettings]) -> Small:
    bench, name = request.param
    settings = make_settings(cases=(name,))
    (case,) = chosen_cases(bench, settings)
    table = Work(bench_folder, settings).of(case.workload, case.change).table()
    run = run_settings(case, settings)
    schema = training_schema(table, run, settings.table_rows)
    return Small(settings, case, table, run, schema, read_batches(table, schema, run, 3))
