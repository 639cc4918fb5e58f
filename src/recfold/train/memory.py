"""Before the start: do the embedding tables of this rank fit into what is free?"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from recfold.plan import TableSize, check_fits, search_plan, shares
from recfold.spec import Plan, control_group_free_bytes
from recfold.train.ranks import Ranks, local_device


def default_plan(sizes: Mapping[str, TableSize], ranks: int, memory_gb: float | None) -> Plan:
    """The plan of a run that was given none; every rank finds the same one.

    Args:
        memory_gb: that tables may take on a rank (10^9 bytes); None for no bound: what is free may differ by rank.
    Raises:
        InputError: nothing fits.
    """
    return search_plan(sizes, ranks, memory_bytes=None if memory_gb is None else int(memory_gb * 1e9))


def check_memory(
    plan: Plan, sizes: Mapping[str, TableSize], memory_gb: float | None, ranks: Ranks, device: str = "cpu"
) -> str:
    """Whether the plan fits.

    Args:
        memory_gb: that tables may take on a rank (10^9 bytes); None for what is free.
        device: where the tables lie.
    Returns:
        One line that says so.
    Raises:
        InputError: the table that does not fit, and what would help.
    """
    memory_bytes = free_bytes(device) if memory_gb is None else int(memory_gb * 1e9)
    fullest = max(shares(plan, sizes), key=lambda share: share.num_bytes)
    if memory_bytes is None:
        return f"tables take {fullest.num_bytes / 1e9:.3f} GB on rank {fullest.rank}, the fullest of {ranks.size}"
    check_fits(plan, sizes, memory_bytes)
    return (
        f"tables fit: {fullest.num_bytes / 1e9:.3f} GB on rank {fullest.rank}, the fullest of {ranks.size}, "
        f"of {memory_bytes / 1e9:.1f} GB for each"
    )


def free_bytes(device: str) -> int | None:
    """Memory that is free for one rank of this machine, or of its container; None where the system does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info(local_device())[0])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    found = [own for own in (_available_bytes(), control_group_free_bytes()) if own is not None]
    return min(found) // here if found else None


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
