"""What all tests share: no deadlines, and where the real logs are."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The first call into torch takes longer than hypothesis' deadline allows; tests assert no timings anyway.
settings.register_profile("recfold", deadline=None)
settings.load_profile("recfold")


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """Folder of the real logs (`RECFOLD_DATA`); the test is skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("RECFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real logs at {folder}; set RECFOLD_DATA to their folder")
    return folder
