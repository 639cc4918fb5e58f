"""Memory that a container's limit leaves, in both versions of control groups."""

from pathlib import Path

import pytest

from recfold.spec import control_group_free_bytes

VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
VERSION_2 = ("memory.max", "memory.current", "")


def make_group(folder: Path, names: tuple[str, str, str], limit: object, used: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    stat = f"{names[2]}inactive_file {cache // 2}\n{names[2]}active_file {cache - cache // 2}\n{names[2]}rss 5\n"
    (folder / "memory.stat").write_text(stat)


@pytest.mark.parametrize(
    "lines, below, names", [("0::/a/b\n", "", VERSION_2), ("7:cpu:/x\n4:memory:/a/b\n", "memory", VERSION_1)]
)
def test_the_tightest_group_counts_and_page_cache_is_free(
    tmp_path: Path, lines: str, below: str, names: tuple[str, str, str]
) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "root"
    own.write_text(lines)
    assert control_group_free_bytes(own, root) is None
    make_group(root / below, names, (1 << 63) - 4096, used=900)
    assert control_group_free_bytes(own, root) is None
    make_group(root / below / "a", names, 1000, used=900, cache=300)
    make_group(root / below / "a" / "b", names, 2000, used=100)
    assert control_group_free_bytes(own, root) == 400
    make_group(root / below / "a" / "b", names, 300, used=100)
    assert control_group_free_bytes(own, root) == 200
    make_group(root / below / "a" / "b", names, 300, used=400)
    assert control_group_free_bytes(own, root) == 0


def test_a_group_without_a_limit_bounds_nothing_and_a_container_is_its_root(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "root"
    assert control_group_free_bytes(own, root) is None
    own.write_text("0::/not/in/here\n")
    make_group(root, VERSION_2, "max", used=900)
    assert control_group_free_bytes(own, root) is None
    make_group(root, VERSION_2, 1000, used=900)
    assert control_group_free_bytes(own, root) == 100
