"""Facts about the machine are read from what the system says, and left out where it says nothing."""

from pathlib import Path

from recfold.spec import cpu_model, last_level_cache_bytes, num_cpus


def test_the_first_cpu_names_itself(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n")
    assert cpu_model(listing) == "AMD EPYC (family 25, model 17)"
    listing.write_text("Features\t: fp asimd\n")
    assert cpu_model(listing) == cpu_model(tmp_path / "missing") != ""


def test_the_largest_cache_counts(tmp_path: Path) -> None:
    for number, size in enumerate(("32K", "1024K", "32M")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")
    assert last_level_cache_bytes(tmp_path) == 32 << 20
    assert last_level_cache_bytes(tmp_path / "missing") == 0
    assert num_cpus() >= 1
