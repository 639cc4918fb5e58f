"""What a figure needs besides itself: versions, commit, machine."""

import contextlib
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch

import recfold
from recfold.spec import num_cpus

_PACKAGE = Path(recfold.__file__).parent


def machine_facts() -> dict[str, Any]:
    """Versions, commit (null where recfold does not run from its repository) and number of CPUs."""
    return {
        "versions": {
            "recfold": recfold.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
            "polars": pl.__version__,
            "torch": torch.__version__,
        },
        "commit": commit(),
        "cpus": num_cpus(),
        "machine": platform.machine(),
    }


def peer_versions() -> dict[str, str]:
    """Of TorchRec and FBGEMM, where they are installed."""
    found = {}
    for package in ("torchrec", "fbgemm-gpu-cpu", "fbgemm-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def commit() -> str | None:
    """The commit of the running code, with `-dirty` where something was changed since; None where it has none."""
    tracked = _git("ls-files", "--error-unmatch", "__init__.py")
    return None if tracked is None else _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def code_digest(*rooms: str) -> str:
    """Eight hex digits that change with the source of any of these rooms."""
    digest = hashlib.sha256()
    for room in sorted(rooms):
        for path in sorted((_PACKAGE / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _git(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip() or None
