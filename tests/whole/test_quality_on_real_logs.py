"""On real logs, held out by time, a trained model ranks better than popularity does."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import recfold
from recfold.logs import Chunk, open_logs
from recfold.spec import Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.evaluation import LabelEvaluation

BASELINES = {"popularity in train", "popularity so far"}


def trained(table: FoldedTable, out: Path, settings: RunSettings, schema: Schema | None = None) -> LabelEvaluation:
    result = recfold.train(table, out, settings=settings, schema=schema)
    assert result.evaluation is not None
    (found,) = result.evaluation.labels.values()
    assert found.baselines.keys() == BASELINES
    return found


@pytest.fixture(scope="module")
def movielens_odds(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    """ml-100k with the like rate of items as log-odds: its spread of 0.1 is lost beside logarithms of counts."""
    source = open_logs(real_logs / "ml-100k", adapter="movielens")

    def impressions() -> Iterator[Chunk]:
        for chunk in source.impressions():
            place = chunk.rows.column_names.index("feature.item_like_rate")
            rate = chunk.rows.column(place).to_numpy()
            odds = pa.array(np.log(rate / (1 - rate)))
            yield dataclasses.replace(chunk, rows=chunk.rows.set_column(place, "feature.item_like_rate", odds))

    logs = dataclasses.replace(source, impressions=impressions)
    return recfold.fold(logs, tmp_path_factory.mktemp("movielens") / "table")


def about_items(schema: Schema) -> Schema:
    """What a model for AUC inside sessions should see of MovieLens.

    In a session the user's own like rate so far falls with every like that is used up: it helps over all samples and
    misleads among those of one session, and so do the stars of the history. Users of the last tenth are new: their ids
    say nothing.
    """
    kept = ("item", "item_genres", "item_year", "history_item", "item_like_rate", "item_ratings")
    kept = (*kept, "user_age", "user_gender", "user_occupation")
    return schema.model_copy(update={"features": {name: schema.features[name] for name in kept}})


def test_movielens_beats_popularity_inside_sessions(
    movielens_odds: FoldedTable, settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    own = settings("model.name=sequence", "train.batch_size=1024", 'train.dense.options={"lr": 0.003}')
    found = trained(movielens_odds, tmp_path / "run", own, about_items(movielens_odds.schema))
    assert found.model.sessions > 100
    for baseline in found.baselines.values():
        assert found.model.auc_by_session > baseline.auc_by_session
        assert found.model.auc > baseline.auc


def test_movielens_with_every_feature_beats_popularity_over_all_samples(
    movielens: FoldedTable, settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    found = trained(movielens, tmp_path / "run", settings("model.name=dlrm", "train.batch_size=1024"))
    for baseline in found.baselines.values():
        assert found.model.auc > baseline.auc + 0.01
        assert found.model.ne < baseline.ne


@pytest.fixture(scope="module")
def ebnerd(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    return recfold.fold(real_logs / "ebnerd_demo", tmp_path_factory.mktemp("ebnerd") / "table", adapter="ebnerd")


def test_ebnerd_beats_popularity_inside_requests(
    ebnerd: FoldedTable, settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    own = settings("model.name=dlrm", "train.batch_size=1024", 'train.dense.options={"lr": 0.003}')
    found = trained(ebnerd, tmp_path / "run", own)
    assert found.model.requests > 20_000
    for baseline in found.baselines.values():
        assert found.model.auc_by_request > baseline.auc_by_request + 0.003
        assert found.model.auc_by_session > baseline.auc_by_session + 0.003
