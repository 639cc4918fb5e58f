"""Rows and gradients that travel in few bits train as good a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import recfold

MOST_AUC = {"fp16": 0.001, "bf16": 0.001, "int8": 0.002}
CASES = [pytest.param(20_000, 256, id="20,000"), pytest.param(400_000, 2048, id="400,000", marks=pytest.mark.soak)]


@pytest.mark.parametrize("samples, batch_size", CASES)
def test_codecs_leave_the_auc_alone(samples: int, batch_size: int, tmp_path: Path) -> None:
    recfold.synth(tmp_path / "logs", workload="pooled", samples=samples, seed=1)
    recfold.fold(tmp_path / "logs", tmp_path / "folded")
    auc = {}
    for codec in ("fp32", *MOST_AUC):
        out = tmp_path / codec
        changes = (f"train.batch_size={batch_size}", "train.throughput_steps=0", "tables.dim=16", "train.device=cpu")
        sets = [part for change in changes for part in ("--set", change)]
        command = ["train", tmp_path / "folded", "--out", out, "--nproc", "2", "--codec", codec, *sets]
        ran = subprocess.run([sys.executable, "-m", "recfold", *map(str, command)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        evaluation = json.loads((out / "evaluation.json").read_text())
        auc[codec] = evaluation["labels"]["click"]["model"]["auc"]
    assert auc["fp32"] > 0.55  # something was learned that could be lost
    for codec, most in MOST_AUC.items():
        assert abs(auc[codec] - auc["fp32"]) <= most, auc
    assert len(set(auc.values())) > 1  # the codecs did something
