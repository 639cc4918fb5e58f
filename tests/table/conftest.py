"""A copy of the golden table that a test may damage."""

import shutil
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden" / "v1"


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "table"))
