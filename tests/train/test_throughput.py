"""Speed of the three ways: measured in turns, on copies, kept in the run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, Throughput, measure_throughput, train

Settings = Callable[..., RunSettings]


def test_every_way_is_timed_as_often_as_asked(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    found = measure_throughput(table, settings(), steps=3, out=tmp_path / "throughput.json")
    assert list(found.samples_per_s) == ["on", "lookups", "off"]
    assert all(len(figures) == 3 and min(figures) > 0 for figures in found.samples_per_s.values())
    assert found.ratio["off"] == 1.0
    assert found.ratio["on"] == pytest.approx(found.median_step_ms["off"] / found.median_step_ms["on"])
    assert Throughput.parse(json.loads((tmp_path / "throughput.json").read_text()), "throughput.json") == found


def test_more_steps_than_batches_go_round(table: FoldedTable, settings: Settings) -> None:
    assert len(measure_throughput(table, settings("train.batch_size=400"), steps=4).samples_per_s["on"]) == 4


def test_a_run_measures_it_unless_told_not_to(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    told: list[str] = []
    result = train(
        table,
        tmp_path / "a",
        settings=settings("train.max_steps=2", "train.throughput_steps=2"),
        progress=lambda what, done, total, **details: told.append(what),
    )
    assert result.throughput is not None
    assert "measure throughput" in told
    assert (tmp_path / "a" / "throughput.json").exists()
    assert train(table, tmp_path / "b", settings=settings("train.max_steps=2")).throughput is None
    assert not (tmp_path / "b" / "throughput.json").exists()


def test_measuring_changes_nothing_about_the_model(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    with_it = train(table, tmp_path / "a", settings=settings("train.throughput_steps=2"))
    without = train(table, tmp_path / "b", settings=settings())
    assert with_it.evaluation == without.evaluation


def test_a_table_without_training_samples_is_refused(table: FoldedTable, settings: Settings) -> None:
    only = table.manifest.model_copy(update={"splits": {"validation": table.manifest.splits["validation"]}})
    with pytest.raises(InputError, match="has no training samples"):
        measure_throughput(FoldedTable(table.path, only), settings())
