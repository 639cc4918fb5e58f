"""The example of a user's own loop runs and learns, in under 60 lines."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from recfold.table import FoldedTable

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_loop.py"


def test_it_runs_and_its_loss_falls(
    table: FoldedTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(table.path), "--batch-size", "64", "--epochs", "6"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    steps = len(losses) // 6
    assert sum(losses[-steps:]) < sum(losses[:steps])


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
