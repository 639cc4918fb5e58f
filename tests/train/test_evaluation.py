"""Evaluation of a run: the model next to the popularity baselines, on the samples of a split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import Evaluation, RunSettings, evaluate, train
from recfold.train.evaluation import AS_OF_POPULARITY, TRAIN_POPULARITY
from recfold.train.metrics import label_metrics
from recfold.train.popularity import Seen, as_of_click_rate_reference, base_rate, click_rate_reference

Settings = Callable[..., RunSettings]


@pytest.fixture(scope="module")
def run(table: FoldedTable, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(table, path, settings=settings("train.epochs=8", "train.dense.options.lr=0.01", "tables.learning_rate=0.1"))
    return path


def column(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].to_numpy()


def seen(rows: pa.Table, label: str) -> Seen:
    names = {name: number for number, name in enumerate(f"item {i}" for i in range(99))}
    candidates = np.array([names[name] for name in rows["candidate"].to_pylist()])
    return Seen(candidates, column(rows, "time"), column(rows, label), column(rows, "weight").astype(np.float64))


def test_the_model_learns_what_popularity_cannot(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    table = tables(tmp_path / "table", units=400)
    changes = ("train.epochs=3", "train.dense.options.lr=0.01", "tables.learning_rate=0.05")
    result = train(table, tmp_path / "run", settings=settings(*changes))
    assert result.evaluation is not None
    click = result.evaluation.labels["click"]
    assert click.model.auc is not None
    assert click.baselines[AS_OF_POPULARITY].auc is not None
    assert click.model.auc > click.baselines[AS_OF_POPULARITY].auc > 0.6
    assert click.model.ne is not None
    assert click.model.ne < 0.9


def test_counts_and_rates_are_those_of_the_expanded_rows(run: Path, table: FoldedTable) -> None:
    found = evaluate(run, table)
    rows = pa.concat_tables(table.expand("validation"))
    assert found.samples == rows.num_rows == found.labels["click"].model.samples
    weights = column(rows, "weight").astype(np.float64)
    for label in ("click", "like"):
        expected = weights @ column(rows, f"label.{label}") / weights.sum()
        assert found.labels[label].model.base_rate == pytest.approx(expected)


def test_the_baselines_are_those_of_the_slow_twins(run: Path, table: FoldedTable) -> None:
    rows = pa.concat_tables(table.expand("validation"))
    before, here = seen(pa.concat_tables(table.expand("train")), "label.click"), seen(rows, "label.click")
    rate = base_rate(before)
    found = evaluate(run, table).labels["click"].baselines
    for name, rates in {
        TRAIN_POPULARITY: click_rate_reference(before, here.candidates, rate),
        AS_OF_POPULARITY: as_of_click_rate_reference(before, here, rate),
    }.items():
        _, requests = np.unique(np.array(rows["request"].to_pylist()), return_inverse=True)
        expected = label_metrics(
            np.log(rates / (1 - rates)),
            here.labels,
            weights_N=here.weights,
            requests_N=requests,
            sessions_N=column(rows, "session"),
        )
        assert found[name].model_dump() == pytest.approx(expected.model_dump(), rel=1e-9)


def test_it_is_kept_in_the_run(run: Path, table: FoldedTable) -> None:
    found = evaluate(run, table)
    assert Evaluation.parse(json.loads((run / "evaluation.json").read_text()), "evaluation.json") == found
    assert list(found.labels) == ["click", "like"]
    assert found.split == "validation"


def test_another_split_is_kept_beside_it(run: Path, table: FoldedTable) -> None:
    found = evaluate(run, table)
    other = evaluate(run, table, "train")
    assert other.samples != found.samples
    for name, kept in (("evaluation.json", found), ("evaluation-train.json", other)):
        assert Evaluation.parse(json.loads((run / name).read_text()), name) == kept


def test_bins_hold_every_sample_and_rise(run: Path, table: FoldedTable) -> None:
    bins = evaluate(run, table).labels["click"].bins
    weights = sum(float(column(rows, "weight").sum()) for rows in table.expand("validation"))
    assert sum(each.num_samples for each in bins) == pytest.approx(weights)
    predicted = [each.predicted for each in bins]
    assert predicted == sorted(predicted)


def test_the_training_split_can_be_evaluated_and_counts_once(run: Path, table: FoldedTable) -> None:
    found = evaluate(run, table, "train").labels["click"].baselines[AS_OF_POPULARITY]
    rows = pa.concat_tables(table.expand("train"))
    here = seen(rows, "label.click")
    nothing = Seen(here.candidates[:0], here.candidates[:0], here.labels[:0], here.weights[:0])
    rates = as_of_click_rate_reference(nothing, here, base_rate(here))
    expected = label_metrics(np.log(rates / (1 - rates)), here.labels, weights_N=here.weights)
    assert found.auc == pytest.approx(expected.auc)
    assert found.logloss == pytest.approx(expected.logloss)


def test_without_candidates_it_says_so(tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path) -> None:
    table = tables(tmp_path / "table", drop=("sample.candidate",))
    result = train(table, tmp_path / "run", settings=settings("train.max_steps=2"))
    assert result.evaluation is not None
    assert result.evaluation.notes == ("no popularity baseline: the logs have no candidate key",)
    assert result.evaluation.labels["click"].baselines == {}


def test_without_sample_weights_every_sample_counts_one(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    table = tables(tmp_path / "table", drop=("sample.weight",), labels=("like",))
    result = train(table, tmp_path / "run", settings=settings("train.max_steps=2"))
    assert result.evaluation is not None
    rows = pa.concat_tables(table.expand("validation"))
    assert list(result.evaluation.labels) == ["like"]
    model = result.evaluation.labels["like"].model
    assert model.base_rate == pytest.approx(column(rows, "label.like").mean())


def test_without_validation_there_is_no_evaluation(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    table = tables(tmp_path / "table", validation=False)
    result = train(table, tmp_path / "run", settings=settings("train.max_steps=2"))
    assert result.evaluation is None
    with pytest.raises(InputError, match="has no validation samples; expected one of train"):
        evaluate(tmp_path / "run", table)
    with pytest.raises(InputError, match="early stopping needs validation samples"):
        train(table, tmp_path / "other", settings=settings("train.stop.metric=auc"))


def test_a_run_without_a_checkpoint_cannot_be_evaluated(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    def kill(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path / "run", settings=settings(), progress=kill)
    with pytest.raises(InputError, match="has no checkpoint yet; train it first"):
        evaluate(tmp_path / "run", table)
    with pytest.raises(InputError, match="is not a run"):
        evaluate(tmp_path, table)


def test_labels_that_are_null_are_refused(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["first_time"] >= 1_000_000:
            row["label.like"] = [None] * row["n"]

    table = tables(tmp_path / "table", edit=spoil)
    with pytest.raises(InputError, match="label 'like' cannot be trained with cross entropy; got null"):
        train(table, tmp_path / "run", settings=settings())


def test_an_unknown_checkpoint_is_refused(run: Path, table: FoldedTable) -> None:
    with pytest.raises(InputError, match="unknown checkpoint; got 'newest'; expected best or last"):
        evaluate(run, table, checkpoint="newest")
