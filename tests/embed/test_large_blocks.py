"""Large blocks stay with the process."""

import subprocess
import sys

import pytest

KEPT = """
import resource, torch
from recfold.embed import keep_large_blocks
taken = keep_large_blocks() if {keep} else True
first = torch.ones(1 << 24)
del first
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(1 << 24)
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_the_pages_of_a_large_block_are_not_given_back() -> None:
    faults = []
    for keep in (False, True):
        ran = subprocess.run([sys.executable, "-c", KEPT.format(keep=keep)], capture_output=True, text=True, check=True)
        taken, own = ran.stdout.split()
        if taken == "False":
            pytest.skip("the allocator does not take such a large threshold")
        faults.append(int(own))
    assert faults[1] < 100 < faults[0]
