"""What a measured or fitted cost belongs to: the machine, its threads and the versions of what was timed."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

import recfold
from recfold.spec import InputError, cpu_model, last_level_cache_bytes, num_cpus


def hardware(device: str = "cpu") -> dict[str, Any]:
    """Facts about the machine, without a date or a name of it.

    Args:
        device: `cpu`, or a CUDA device.
    Raises:
        InputError: another device, or one that is not there.
    """
    try:
        own = torch.device(device)
        if own.type not in ("cpu", "cuda"):
            raise RuntimeError("nothing is timed there")
        name = torch.cuda.get_device_name(own) if own.type == "cuda" else "cpu"
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"cannot measure on device {device!r}", got=str(error).splitlines()[0], expected="cpu or cuda"
        ) from None
    facts: dict[str, Any] = {
        "device": name,
        "cpu": cpu_model(),
        "cpus": num_cpus(),
        "last_level_cache_bytes": last_level_cache_bytes(),
        "threads": 1 if own.type == "cpu" else None,
        "versions": {
            "recfold": recfold.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "fbgemm": _fbgemm(),
        },
    }
    return facts


def hardware_line(facts: dict[str, Any]) -> str:
    """The same in one line, for people.

    >>> hardware_line({"device": "cpu", "cpu": "EPYC", "threads": 1, "versions": {"torch": "2.13", "fbgemm": None}})
    'EPYC, 1 thread, torch 2.13, without FBGEMM'
    """
    versions = facts["versions"]
    fbgemm = f"FBGEMM {versions['fbgemm']}" if versions["fbgemm"] else "without FBGEMM"
    what = f"{facts['cpu']}, {facts['threads']} thread" if facts["device"] == "cpu" else str(facts["device"])
    return f"{what}, torch {versions['torch']}, {fbgemm}"


def _fbgemm() -> str | None:
    for name in ("fbgemm-gpu-cpu", "fbgemm-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
