"""The lines of the training benches."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recfold.bench import run_bench
from recfold.bench.training.peak import can_measure
from recfold.spec import InputError

KEYS = ["bench", "case", "metric", "ours", "peer", "peer_name", "ratio", "unit", "settings"]
HAS_TORCHREC = importlib.util.find_spec("torchrec") is not None
PEERS = {
    "train-pooled": ["torchrec-kjt", "torchrec-vbe", "fold-off", "lookups-only"],
    "train-sequence": ["torchrec-padded", "fold-off", "lookups-only", "encoders-only"],
}


@pytest.mark.parametrize("bench", PEERS)
def test_speeds_are_lines_of_every_case_and_peer(bench: str, make_settings: Any) -> None:
    told: list[str] = []
    settings = make_settings(metrics=("samples_per_s",))
    lines = [json.loads(found.to_json()) for found in run_bench(bench, settings, tell=told.append)]
    cases = ["pooled", "one-group", "catalog", "no-repeats"] if bench == "train-pooled" else ["sequence"]
    peers = [name for name in PEERS[bench] if HAS_TORCHREC or not name.startswith("torchrec")]
    assert [(line["case"], line["peer_name"]) for line in lines] == [(case, peer) for case in cases for peer in peers]
    assert len(told) == (0 if HAS_TORCHREC else 1)
    for line in lines:
        assert list(line) == KEYS
        assert (line["bench"], line["metric"], line["unit"]) == (bench, "samples_per_s", "samples/s")
        assert min(line["ours"], line["peer"], line["ratio"]) > 0
        low, high = line["settings"]["interval"]
        assert low <= line["ratio"] <= high
        assert len(line["settings"]["first_losses"]) == 3
        assert line["settings"]["batch_size"] == 96
        assert {"threads", "device", "dedup_factors", "versions", "commit"} <= set(line["settings"])


def test_a_peer_that_is_not_installed_is_one_line(make_settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise InputError("TorchRec is not installed", todo="install it with `make peers`")

    monkeypatch.setattr("recfold.bench.training.bench.torchrec_modules", missing)
    told: list[str] = []
    settings = make_settings(cases=("pooled",), metrics=("samples_per_s",))
    found = run_bench("train-pooled", settings, tell=told.append)
    assert [line.peer_name for line in found] == ["fold-off", "lookups-only"]
    assert told == ["the peers torchrec-* are left out: TorchRec is not installed; install it with `make peers`"]


@pytest.mark.skipif(not can_measure(torch.device("cpu")), reason="peak memory is measured on Linux only")
def test_memory_is_measured_and_turned_into_a_batch_size(make_settings: Any) -> None:
    settings = make_settings(peers=("fold-off",), metrics=("peak_memory", "largest_batch"))
    plain, largest = run_bench("train-sequence", settings)
    assert (plain.metric, plain.peer_name, plain.unit) == ("peak_memory", "fold-off", "bytes")
    assert plain.ratio == plain.peer / plain.ours > 1.5
    assert (largest.metric, largest.peer_name, largest.unit) == ("largest_batch", "fold-off", "samples")
    assert largest.settings["limit_bytes"] == plain.peer
    assert largest.ratio == largest.ours / largest.peer
    assert 48 <= largest.peer <= 192 < largest.ours


def test_a_dump_is_written_without_any_timing(make_settings: Any, tmp_path: Path) -> None:
    settings = make_settings(cases=("pooled",), metrics=(), dump=tmp_path)
    assert run_bench("train-pooled", settings) == []
    about = json.loads((tmp_path / "pooled" / "case.json").read_text())
    assert len(about["losses"]) == 3
    with pytest.raises(InputError, match="pooled exists"):
        run_bench("train-pooled", settings)
