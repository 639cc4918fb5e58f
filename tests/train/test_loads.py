"""Loads of a run's tables: distinct lists, not samples, as the reader gives them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from recfold.plan.cost.draw import access_shares
from recfold.plan.loads import write_loads
from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, loads_of, measured_loads
from recfold.train.assemble import bags_of, lists_of, table_sizes, tables_read, weights_name
from recfold.train.effective import run_schema
from recfold.train.scores import first_batches

Make = Callable[..., RunSettings]


@pytest.mark.parametrize("model", ["dlrm", "din", "deepfm"])
def test_loads_are_those_of_the_first_batch(table: FoldedTable, settings: Make, model: str) -> None:
    own = settings("train.batch_size=32", model=model)
    schema = run_schema(table.schema, None, own.tables)
    loads = {load.name: load for load in loads_of(table, schema, own, steps=1)}
    sizes = table_sizes(schema, own)
    assert list(loads) == list(sizes)
    (batch,) = first_batches(table, schema, own, 1)
    lists = lists_of(batch)
    vectors, weights = tables_read(schema, model)[1:]
    for name, load in loads.items():
        reads = [read for read in (*vectors, *weights) if read.table == name]
        bags = [bags_of(read.feature.removesuffix(weights_name("")), read.mode, lists) for read in reads]
        _, counts = torch.cat([part.values for part in bags]).unique(return_counts=True)
        assert (load.rows, load.dim, load.row_bytes) == (sizes[name].rows, sizes[name].dim, sizes[name].row_bytes)
        assert load.lookups == counts.sum()
        assert load.lists == sum(len(part.offsets) - 1 for part in bags)
        assert load.accesses == pytest.approx(access_shares(counts.numpy()))


def test_settings_that_would_change_nothing_of_loads_in_a_file_are_refused(
    table: FoldedTable, settings: Make, tmp_path: Path
) -> None:
    file = tmp_path / "loads.json"
    loads = measured_loads(table, 2, settings=settings())
    write_loads(loads.tables, file, ranks=2, batch_size=loads.batch_size, by_row=loads.by_row)
    assert measured_loads(file, 4).tables == loads.tables
    with pytest.raises(InputError, match=r"^settings would change nothing of the loads in .*; give the folded table$"):
        measured_loads(file, 4, settings=settings())
    with pytest.raises(InputError, match="a schema would change nothing"):
        measured_loads(file, 4, schema=table.schema)


def test_lists_of_a_group_count_once_however_many_samples_share_them(table: FoldedTable, settings: Make) -> None:
    own = settings()
    schema = run_schema(table.schema, None, own.tables)
    (tags,) = (load for load in loads_of(table, schema, own, batch_size=64, steps=1) if load.name == "tags")
    (batch,) = first_batches(table, schema, settings("train.batch_size=64"), 1)
    assert tags.lists == batch.groups["user"].lists.num_distinct < 64  # type: ignore[union-attr]


def test_a_step_of_several_ranks_has_their_batches(table: FoldedTable, settings: Make) -> None:
    own = settings()
    schema = run_schema(table.schema, None, own.tables)
    one, two = (loads_of(table, schema, own, batch_size=16, ranks=ranks, steps=8 // ranks) for ranks in (1, 2))
    for single, double in zip(one, two, strict=True):
        assert double.lookups == pytest.approx(2 * single.lookups)
        assert double.lists == pytest.approx(2 * single.lists)
        if single.lookups:
            assert np.dot(double.accesses, range(17)) >= np.dot(single.accesses, range(17))
    many = loads_of(table, schema, own, batch_size=16, ranks=64)
    assert many[0].lookups == pytest.approx(64 / 16 * loads_of(table, schema, own, batch_size=16, ranks=16)[0].lookups)
    assert sum(many[0].accesses) == pytest.approx(1.0)


def test_a_table_without_training_samples_is_refused(
    tables: Callable[..., FoldedTable], settings: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tables(tmp_path_factory.mktemp("empty") / "table", units=0, validation=False)
    own = settings()
    with pytest.raises(InputError, match="no training samples"):
        loads_of(empty, run_schema(empty.schema, None, own.tables), own)
