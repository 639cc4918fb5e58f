"""Random programs for the tests of folded tensors."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

STEPS = ("steps_of_rows", "steps_of_shapes", "steps_of_products", "steps_that_write")
collect_ignore = ["distributed.py", "programs.py", *(f"{name}.py" for name in STEPS)]
"""They hold no tests: loaded below by path, or run as a process."""


def _neighbour(name: str) -> ModuleType:
    """A module of this folder, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"folded_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def programs() -> ModuleType:
    """programs.py, with all operations."""
    machine = _neighbour("programs")
    for name in STEPS:
        _neighbour(name)
    return machine
