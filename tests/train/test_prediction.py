"""Predictions carry the logs' own keys, and equal what evaluation saw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, evaluate, predict, train
from recfold.train.metrics import auc

Settings = Callable[..., RunSettings]


@pytest.fixture(scope="module")
def run(table: FoldedTable, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(table, path, settings=settings("train.epochs=2", "train.dense.options.lr=0.02"))
    return path


def test_columns_are_documented_and_in_order(run: Path, table: FoldedTable, tmp_path: Path) -> None:
    found = pq.read_table(predict(run, table, tmp_path / "deep" / "scores.parquet"))
    assert found.column_names == [
        "split",
        "request",
        "candidate",
        "session",
        "user",
        "time",
        "score.click",
        "score.like",
    ]
    assert found.schema.field("score.click").type == pa.float32()
    assert found.schema.field("candidate").type == pa.string()


def test_every_sample_is_there_once_with_its_own_keys(run: Path, table: FoldedTable, tmp_path: Path) -> None:
    found = pq.read_table(predict(run, table, tmp_path / "scores.parquet"))
    keys = ["split", "request", "candidate", "session", "user", "time"]
    expected = pa.concat_tables(table.expand()).select(keys)
    order = [(key, "ascending") for key in keys]
    assert found.select(keys).sort_by(order).to_pylist() == expected.sort_by(order).to_pylist()
    times = found.filter(pa.compute.equal(found["split"], "train"))["time"].to_numpy()
    assert (np.diff(times) >= 0).sum() > 0.5 * len(times)


def test_scores_are_those_that_were_evaluated(run: Path, table: FoldedTable, tmp_path: Path) -> None:
    found = pq.read_table(predict(run, table, tmp_path / "scores.parquet", split="validation"))
    assert set(found["split"].to_pylist()) == {"validation"}
    rows = pa.concat_tables(table.expand("validation"))
    keys = ["request", "candidate", "time"]
    joined = found.join(rows.select([*keys, "label.click", "weight"]), keys, join_type="inner")
    assert joined.num_rows == found.num_rows
    expected = evaluate(run, table).labels["click"].model.auc
    ours = auc(*(joined[name].to_numpy().astype(np.float64) for name in ("score.click", "label.click", "weight")))
    assert ours == pytest.approx(expected, abs=1e-6)


def test_null_keys_stay_null(tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path, run: Path) -> None:
    def forget(row: dict) -> None:
        row["user"] = None if row["first_time"] % 2 else row["user"]

    table = tables(tmp_path / "table", edit=forget)
    found = pq.read_table(predict(run, table, tmp_path / "scores.parquet"))
    expected = pa.concat_tables(table.expand())
    assert 0 < found["user"].null_count == expected["user"].null_count < found.num_rows


def test_a_table_that_was_not_trained_on_can_be_scored(
    tables: Callable[..., FoldedTable], run: Path, tmp_path: Path
) -> None:
    fresh = tables(tmp_path / "fresh", seed=9, units=10, labels=("click", "like"))
    assert pq.read_table(predict(run, fresh, tmp_path / "scores.parquet")).num_rows > 10


def test_nothing_is_left_where_it_fails(run: Path, table: FoldedTable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no test samples; expected one of train, validation"):
        predict(run, table, tmp_path / "scores.parquet", split="test")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        predict(run, table, tmp_path / "file" / "scores.parquet")
