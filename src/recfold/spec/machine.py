"""What this machine is, as far as a measurement on it has to say."""

import os
import platform
from pathlib import Path


def num_cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def cpu_model(listing: Path = Path("/proc/cpuinfo")) -> str:
    """What the first CPU calls itself, with its family and model numbers; the architecture where it does not say."""
    try:
        lines = listing.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    numbers = [f"{name.removeprefix('cpu ')} {facts[name]}" for name in ("cpu family", "model") if name in facts]
    return f"{facts['model name']} ({', '.join(numbers)})" if numbers else facts["model name"]


def last_level_cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Of the first CPU; 0 where the system does not say."""
    found = 0
    for path in folder.glob("index*/size"):
        text = path.read_text(encoding="utf-8").strip()
        factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 0)
        if factor and text[:-1].isdigit():
            found = max(found, int(text[:-1]) * factor)
    return found
