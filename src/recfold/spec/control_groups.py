"""The memory that Linux control groups, such as a container's, leave to this process."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Files:
    """Where a version of control groups keeps its figures.

    Args:
        folder: below the mounted root.
        limit, used, stat: files of a group.
        prefix: of figures in `stat` that count groups below it too.
    """

    folder: str
    limit: str
    used: str
    stat: str = "memory.stat"
    prefix: str = ""


_NO_LIMIT = 1 << 62
"""Version 1 writes the largest number of pages where there is none."""
_VERSION_1 = _Files("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", prefix="total_")
_VERSION_2 = _Files("", "memory.max", "memory.current")


def control_group_free_bytes(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the tightest of this process's group and those above it leaves; None where none of them bounds memory.

    Page cache of files counts as free: it is dropped when memory is asked for.

    Args:
        own: names the process's groups. In a container the named folder may be missing; its group is `root` then.
        root: where control groups are mounted.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        files = _VERSION_2 if number == "0" else _VERSION_1 if "memory" in controllers.split(",") else None
        if files is None:
            continue
        group = Path(name.lstrip("/"))
        for above in (group, *group.parents):
            free = _free_bytes(root / files.folder / above, files)
            if free is not None:
                found.append(free)
    return min(found, default=None)


def _free_bytes(folder: Path, files: _Files) -> int | None:
    try:
        limit = (folder / files.limit).read_text(encoding="ascii").strip()
        used = int((folder / files.used).read_text(encoding="ascii"))
        lines = (folder / files.stat).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None  # the root has no limit
    if not limit.isdigit() or int(limit) >= _NO_LIMIT:
        return None  # max
    stat = dict(line.split() for line in lines)
    cache = sum(int(stat.get(f"{files.prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
    return max(int(limit) - used + cache, 0)
