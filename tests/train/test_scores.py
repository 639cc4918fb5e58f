"""Ids of a list, as partial results are weighed by: where they are counted, and that labels do not matter to them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, measure_throughput
from recfold.train.effective import run_schema
from recfold.train.loop import parts_of
from recfold.train.ranks import Ranks
from recfold.train.scores import ids_per_list

Settings = Callable[..., RunSettings]


def test_ids_of_a_list_are_counted_where_labels_are_null(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    def forget(row: dict[str, Any]) -> None:
        row["label.like"] = [None] * row["n"]

    table, own = tables(tmp_path / "table", edit=forget), settings()
    found = ids_per_list(table, run_schema(table.schema, None, own.tables), own)
    assert found["item"] == 1
    assert 0 < found["tags"] < 3
    with pytest.raises(InputError, match="label 'like' cannot be trained with cross entropy; got null"):
        measure_throughput(table, own, steps=1)


@pytest.mark.parametrize(
    "partial, ranks, counts", [("auto", 2, True), ("on", 2, True), ("off", 2, False), ("on", 1, False)]
)
def test_bytes_of_partial_results_are_by_counted_ids(
    table: FoldedTable, settings: Settings, monkeypatch: pytest.MonkeyPatch, partial: str, ranks: int, counts: bool
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("recfold.train.loop.Learner", lambda *own, **options: asked.update(options))
    own = settings(f"ranks.partial={partial}", model="fm")
    schema = run_schema(table.schema, None, own.tables)
    parts_of(table, schema, own, Ranks(0, ranks)).reader.close()
    assert asked["ids_per_list"] == (ids_per_list(table, schema, own) if counts else None)
