"""One small working folder for all benches."""

from pathlib import Path

import pytest

from recfold.bench import BenchSettings
from recfold.bench.work import Work

SAMPLES = 3000


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BenchSettings:
    return BenchSettings(samples=SAMPLES, seed=5, repeats=2, batch_size=256, folder=tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def work(settings: BenchSettings) -> Work:
    assert settings.folder is not None
    return Work(Path(settings.folder), settings)
