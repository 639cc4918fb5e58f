"""A copy of the golden table that a test may damage."""

import shutil
from pathlib import Path

import pytest

from recfold.table import FoldedTable, open_table

GOLDEN = Path(__file__).parent / "golden" / "v1"


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "table"))


@pytest.fixture
def coded(tmp_path: Path) -> FoldedTable:
    """A copy of a golden table whose ids are codes."""
    return open_table(shutil.copytree(GOLDEN.with_name("v2"), tmp_path / "coded"))
