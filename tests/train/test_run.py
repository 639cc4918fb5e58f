"""A run's directory: what it was started with, and a schema of the user's own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.spec import InputError, Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings, evaluate, open_run, train

Settings = Callable[..., RunSettings]


@pytest.fixture(scope="module")
def run(table: FoldedTable, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(table, path, settings=settings("train.max_steps=2"))
    return path


def test_it_says_what_it_was_started_with(run: Path, table: FoldedTable, settings: Settings) -> None:
    opened = open_run(run)
    assert opened.settings == settings("train.max_steps=2")
    assert opened.schema.resolved_tables()["item"].rows == 16
    assert opened.trained_on.table == str(table.path)
    assert opened.trained_on.table_checksum == table.manifest.checksum


def test_nothing_in_it_is_pickled(run: Path) -> None:
    suffixes = {path.suffix for path in run.rglob("*") if path.is_file() and path.parent.name != "tensorboard"}
    assert suffixes == {".json", ".jsonl", ".safetensors"}


def test_a_directory_left_by_a_start_that_was_killed_is_used(
    run: Path, table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    for name in ("schema.json", "run.json"):
        (tmp_path / name).write_text((run / name).read_text())
    (tmp_path / ".settings.json.4711").write_text("{")
    with pytest.raises(InputError, match="is not a run"):
        train(table, tmp_path, resume=True)
    own = settings("train.max_steps=1", "train.seed=5")
    assert train(table, tmp_path, settings=own).steps == 1
    assert open_run(tmp_path).settings == own


@pytest.mark.parametrize("file", ["settings.json", "schema.json", "run.json"])
def test_a_damaged_file_is_named(run: Path, tmp_path: Path, file: str) -> None:
    for path in run.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    open_run(tmp_path)
    (tmp_path / file).write_text("{")
    with pytest.raises(InputError, match=f"cannot read .*{file}"):
        open_run(tmp_path)
    (tmp_path / file).write_text(json.dumps({"unheard_of": 1}))
    with pytest.raises(InputError, match=f"{file}: unknown key 'unheard_of'|{file}.*is missing"):
        open_run(tmp_path)


def own_schema(table: FoldedTable, **features: list[dict]) -> Schema:
    """The table's schema with other transforms for some features, and only those that are named here or end in e."""
    data = table.schema.model_dump()
    for name, transforms in features.items():
        data["features"][name]["transforms"] = transforms
    return Schema.parse(data, "own.toml")


def test_a_schema_of_the_users_own_replaces_transforms(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    schema = own_schema(table, place=[{"op": "hash", "rows": 3}], price=[{"op": "bucketize", "borders": [-1, 0, 1]}])
    own = settings("train.max_steps=3", "tables.dim=4")
    result = train(table, tmp_path, settings=own, schema=schema)
    opened = open_run(tmp_path).schema
    assert opened.resolved_tables()["place"].rows == 3
    assert opened.resolved_tables()["price"].rows == 5
    assert evaluate(tmp_path, table) == result.evaluation
    with pytest.raises(InputError, match="a resumed run keeps its schema"):
        train(table, tmp_path, resume=True, schema=table.schema)
    assert train(table, tmp_path, resume=True, schema=schema).steps == 3


def test_features_can_be_left_out_by_name(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    own = settings("train.max_steps=2", 'model.without=["price", "place"]')
    result = train(table, tmp_path, settings=own)
    assert table.schema.features.keys() - open_run(tmp_path).schema.features.keys() == {"price", "place"}
    assert evaluate(tmp_path, table) == result.evaluation
    assert train(table, tmp_path, resume=True).steps == 2


@pytest.mark.parametrize("names, wrong", [(["prize"], "unknown feature 'prize'.*price"), (None, "leaves no feature")])
def test_what_cannot_be_left_out(
    table: FoldedTable, settings: Settings, tmp_path: Path, names: list[str] | None, wrong: str
) -> None:
    own = settings(f"model.without={json.dumps(names or list(table.schema.features))}")
    with pytest.raises(InputError, match=wrong):
        train(table, tmp_path / "run", settings=own)
    assert not (tmp_path / "run").exists()


def test_features_left_out_of_it_are_not_trained_on(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    data = table.schema.model_dump()
    for name in ("tags", "dwell"):
        del data["features"][name]
    del data["labels"]["like"]
    result = train(table, tmp_path, settings=settings("train.max_steps=2"), schema=Schema.parse(data, "own.toml"))
    assert set(open_run(tmp_path).schema.features) == set(table.schema.features) - {"tags", "dwell"}
    assert result.evaluation is not None
    assert list(result.evaluation.labels) == ["click"]
    assert evaluate(tmp_path, table) == result.evaluation


def test_a_feature_that_the_table_lacks_is_refused(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    data = table.schema.model_dump()
    data["features"]["plaice"] = data["features"].pop("place")
    with pytest.raises(InputError, match=r"unknown feature 'plaice'.*did you mean 'place'\?"):
        train(table, tmp_path / "run", settings=settings(), schema=Schema.parse(data, "own.toml"))
    assert not (tmp_path / "run").exists()


def test_a_run_in_an_empty_directory_is_fine(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert train(table, tmp_path / "run", settings=settings("train.max_steps=1")).steps == 1
