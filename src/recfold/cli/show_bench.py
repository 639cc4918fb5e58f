"""Measurements as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid

from recfold.bench import Measurement


def show_bench(console: Console, found: Sequence[Measurement]) -> None:
    """One row a measurement, and what it was measured with."""
    first = found[0]
    about = ", ".join(f"{name} {first.settings[name]:,}" for name in ("samples", "seed") if name in first.settings)
    workloads = ", ".join(dict.fromkeys(one.settings["workload"] for one in found))
    grid = Grid(title=f"{first.bench}: workload {workloads}, {about}", title_justify="left")
    for name in ("case", "peer", "ours", "the peer's", "unit", "ratio", "in turns"):
        grid.add_column(name, justify="left" if name in ("case", "peer", "unit") else "right")
    for one in found:
        interval = one.settings.get("interval")
        grid.add_row(
            one.case,
            one.peer_name,
            _number(one.ours),
            _number(one.peer),
            one.unit,
            f"{one.ratio:.2f}",
            "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
        )
    console.print(grid)
    versions = ", ".join(f"{name} {version}" for name, version in first.settings["versions"].items())
    console.print(
        f"a ratio above 1 means that recfold is better; {versions}; {first.settings['cpus']} CPUs", highlight=False
    )


def _number(value: float) -> str:
    """
    >>> _number(1234567.8), _number(0.91)
    ('1,234,568', '0.91')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
