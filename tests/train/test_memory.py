"""The plan of a run that is given none, and a plan that is not of its tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.plan import TableSize, check_fits
from recfold.spec import InputError, Plan, Topology
from recfold.spec.plan import table_wise
from recfold.table import FoldedTable
from recfold.train import RunSettings, train
from recfold.train.memory import default_plan, free_bytes

Settings = Callable[..., RunSettings]
SIZES = {"a": TableSize(rows=60, dim=1, row_bytes=10_000_000), "b": TableSize(rows=40, dim=1, row_bytes=10_000_000)}


def test_tables_are_packed_into_the_memory_that_is_given() -> None:
    check_fits(default_plan(SIZES, 2, memory_gb=0.55), SIZES, 550_000_000)
    with pytest.raises(InputError, match="needs"):
        check_fits(default_plan(SIZES, 2, None), SIZES, 550_000_000)
    with pytest.raises(InputError, match="on 2 ranks"):
        default_plan(SIZES, 2, memory_gb=0.45)


@pytest.mark.parametrize("wrong", ["inf", "nan", "0"])
def test_memory_is_a_number_above_0(settings: Settings, wrong: str) -> None:
    with pytest.raises(InputError, match=r"ranks\.memory_gb"):
        settings(f"ranks.memory_gb={wrong}")


def test_what_a_container_leaves_is_shared_by_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("recfold.train.memory.control_group_free_bytes", lambda: 3000)
    assert free_bytes("cpu") == 1500
    monkeypatch.setattr("recfold.train.memory._available_bytes", lambda: 2000)
    assert free_bytes("cpu") == 1000
    monkeypatch.setattr("recfold.train.memory.control_group_free_bytes", lambda: None)
    assert free_bytes("cpu") == 1000


def test_a_plan_of_the_tables_of_another_model_is_refused(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    other = Plan(topology=Topology(ranks=1), tables={"item:weights": table_wise(16, 2, rank=0)})
    with pytest.raises(InputError, match="the plan does not place table 'action'"):
        train(table, tmp_path / "run", settings=settings(), plan=other)
    assert not (tmp_path / "run").exists()
