"""Measurements of the bench plan as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid

from recfold.bench import Measurement


def show_plan_bench(console: Console, found: Sequence[Measurement]) -> None:
    """One row a case and side; each is compared with the search `best`."""
    about = found[0].settings
    grid = Grid(
        title=f"plan: {about['tasks']} tasks, seed {about['seed']}, {about['turns']} turns; medians over tasks",
        title_justify="left",
    )
    for name in (
        "case",
        "search",
        "slowest ms",
        "best's",
        "ratio",
        "95 % interval",
        "balance",
        "over mean",
        "seconds",
        "failed",
    ):
        grid.add_column(name, justify="left" if name in ("case", "search") else "right")
    for one in found:
        own = one.settings
        low, high = own["interval"]
        grid.add_row(
            one.case,
            one.peer_name,
            f"{one.peer:.1f}",
            f"{one.ours:.1f}",
            f"{one.ratio:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{own['balance']['peer']:.2f}",
            f"{own['over_mean']['peer']:.3f}",
            f"{own['plan_seconds']['peer']:.2f}",
            str(own["failed"]["peer"]),
        )
    console.print(grid)
    for case, own in {one.case: one.settings for one in found}.items():
        gap, noise = own["gap_over_bound"], own["repeat_noise"]
        console.print(
            f"{case}: best has balance {own['balance']['ours']:.2f}, over mean {own['over_mean']['ours']:.3f}, takes "
            f"{own['plan_seconds']['ours']:.2f} s, and is predicted {gap['median']:.2%} above the lower bound "
            f"({gap['90%']:.2%} in nine of ten tasks)",
            highlight=False,
        )
    console.print(
        f"a ratio above 1 means that best is better; planned by the cost of {about['cost']}"
        + ("" if noise is None else f"; two measurements of a set differ by {noise:.1%}"),
        highlight=False,
    )
