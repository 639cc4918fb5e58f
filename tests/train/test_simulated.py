"""Which steps of a finished run the simulation is compared with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recfold.plan import save_plan
from recfold.spec import InputError, Plan, Topology
from recfold.spec.plan import table_wise
from recfold.table import FoldedTable
from recfold.train import RunSettings, train
from recfold.train.run import PLAN
from recfold.train.simulated import check_simulation

Settings = Callable[..., RunSettings]


@pytest.fixture
def run(table: FoldedTable, settings: Settings, tmp_path: Path) -> Path:
    """Trained for 4 steps, gone on with for 4 more and, for none, once more."""
    train(table, tmp_path / "run", settings=settings("train.max_steps=4"))
    train(table, tmp_path / "run", settings=settings("train.max_steps=8"), resume=True)
    train(table, tmp_path / "run", resume=True)
    return tmp_path / "run"


def edit_journal(run: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    for record in records:
        edit(record)
    (run / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_steps_are_those_since_the_last_start_on_its_ranks(run: Path) -> None:
    """It was started on 4 ranks, whose plan is still there, and gone on with in one process."""
    save_plan(Plan(topology=Topology(ranks=4), tables={"item": table_wise(16, 8, rank=3)}), run / PLAN)

    def on_four(record: dict[str, Any]) -> None:
        if record["kind"] == "start":
            record["ranks"] = 4
        if record["kind"] == "step":
            record["samples_per_s"] = 1e9 if record["step"] <= 4 else 32.0 * record["step"]

    edit_journal(run, on_four)
    found = check_simulation(run, cost="analytic")
    assert found.ranks == 1
    assert 1e3 / 8 <= found.measured_ms <= 1e3 / 6


def test_what_the_simulation_does_not_know_is_refused(
    run: Path, table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    train(table, tmp_path / "sums", settings=settings("train.max_steps=6", "train.accumulate=2"))
    with pytest.raises(InputError, match=r"only runs without accumulation can be compared.*accumulate=2"):
        check_simulation(tmp_path / "sums")
    edit_journal(run, lambda record: record.update(ranks=2))
    with pytest.raises(InputError, match="keeps no plan for the 2 ranks"):
        check_simulation(run)
    edit_journal(run, lambda record: record.update(device="cuda:0"))
    with pytest.raises(InputError, match=r"only runs on CPUs can be compared; got .* on cuda:0"):
        check_simulation(run)
