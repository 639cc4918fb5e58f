from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# The first call into torch takes longer than hypothesis' deadline allows; tests assert no timings anyway.
settings.register_profile("recfold", deadline=None)
settings.load_profile("recfold")


@pytest.fixture
def threads() -> Iterator[list[int]]:
    """Numbers of threads to compare; what was set before comes back."""
    before = torch.get_num_threads()
    yield [1, 2, 3]
    torch.set_num_threads(before)
