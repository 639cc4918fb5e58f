"""The bench plan as a table."""

from io import StringIO

from rich.console import Console

from recfold.bench import Measurement
from recfold.cli.show_plan_bench import show_plan_bench


def test_each_side_has_a_row_and_each_case_a_line() -> None:
    about = {
        "tasks": 20,
        "seed": 0,
        "turns": 2,
        "cost": "EPYC",
        "repeat_noise": 0.05,
        "gap_over_bound": {"median": 0.002, "90%": 0.01},
        "interval": [1.2, 1.6],
        "balance": {"ours": 0.9, "peer": 0.5},
        "over_mean": {"ours": 1.05, "peer": 1.5},
        "plan_seconds": {"ours": 0.8, "peer": 0.01},
        "failed": {"ours": 0, "peer": 3},
    }
    found = [
        Measurement("plan", case, "slowest_ms", 30.0, 42.0, peer, 1.4, "ms", about)
        for case in ("no-splits", "splits")
        for peer in ("random", "torchrec")
    ]
    console = Console(width=140, record=True, file=StringIO())
    show_plan_bench(console, found)
    text = console.export_text()
    assert text.count("torchrec") == 2
    assert "1.200 to 1.600" in text
    assert "splits: best has balance 0.90, over mean 1.050, takes 0.80 s, and is predicted 0.20% above" in text
    assert "two measurements of a set differ by 5.0%" in text
