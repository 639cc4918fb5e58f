"""Small settings of the bench: a few hundred samples, few rows, one turn."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.bench import BenchSettings


@pytest.fixture(scope="session")
def make_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BenchSettings]:
    """Settings with whatever else is given."""
    given = {"samples": 1500, "seed": 3, "repeats": 1, "batch_size": 96, "table_rows": 300}
    given["folder"] = tmp_path_factory.mktemp("bench-exchange")

    def make(**more: object) -> BenchSettings:
        return BenchSettings.parse({**given, **more}, "a test")

    return make


@pytest.fixture
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may start a rank."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a rank was started")

    monkeypatch.setattr("recfold.bench.exchange.world._start", refused)


@pytest.fixture
def link_folder(tmp_path: Path) -> Path:
    """A folder of commands that come before the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder
