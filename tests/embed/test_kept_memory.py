"""Freed memory that stays with the process."""

import resource
import subprocess
import sys

import pytest

STEP = """
import resource, torch
from recfold.embed.kept_memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        parts = [torch.empty(10_000_000).fill_(1.0) for _ in range(1)]
        del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
before = faults()
took = keep_freed_memory()
faults()
print(took, before, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc's allocator")
def test_pages_of_a_step_are_not_faulted_in_again() -> None:
    ran = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    took, before, after = ran.stdout.split()
    if took == "False":
        pytest.skip("this system's allocator is not glibc's")
    pages = 40_000_000 // resource.getpagesize()
    assert int(before) > 5 * pages  # otherwise the other assertion says nothing
    assert int(after) < pages
