"""Every bad input: exit code 1, one clear line, nothing half written."""

import shutil
from pathlib import Path
from typing import Any

import pytest


def one_line(ran: Any, *parts: str) -> None:
    """The run failed with one line on standard error that has all the parts."""
    assert ran.code == 1, (ran.code, ran.out, ran.err)
    lines = [line for line in ran.err.splitlines() if line.startswith("recfold:")]
    assert len(lines) == 1, ran.err
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in lines[0], lines[0]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["synth", "{new}", "--workload", "poled"], ["unknown workload 'poled'", "did you mean 'pooled'"]),
        (["synth", "{new}", "--samples", "0"], ["samples"]),
        (["synth", "{new}", "--repeat", "1.5"], ["repeat"]),
        (["synth", "{logs}"], ["exists"]),
        (["fold", "{nowhere}", "--out", "{new}"], ["there are no logs at", "nowhere"]),
        (["fold", "{empty}", "--out", "{new}"], ["has no features.toml", "--adapter"]),
        (["fold", "{logs}", "--out", "{new}", "--adapter", "ebnred"], ["unknown adapter", "did you mean 'ebnerd'"]),
        (["fold", "{logs}", "--out", "{new}", "--adapter", "mind"], ["is not MIND"]),
        (["fold", "{logs}", "--out", "{new}", "--schema", "{nowhere}"], ["cannot read schema"]),
        (["fold", "{logs}", "--out", "{new}", "--window", "soon"], ["--window 'soon' is not a duration"]),
        (["fold", "{logs}", "--out", "{new}", "--fold-by", "week"], ["fold_by"]),
        (["fold", "{logs}", "--out", "{new}", "--split-time", "later"], ["later"]),
        (["fold", "{logs}", "--out", "{new}", "--memory-gb", "0"], ["memory_gb"]),
        (["fold", "{logs}", "--out", "{new}", "--set", "memry_gb=1"], ["memry_gb", "did you mean 'memory_gb'"]),
        (["fold", "{logs}", "--out", "{table}"], ["is there already"]),
        (["inspect", "{logs}"], ["has no manifest.json"]),
        (["inspect", "{nowhere}"], ["does not exist"]),
        (["expand", "{table}", "--out", "{run}"], ["is there already"]),
        (["train", "{nowhere}", "--out", "{new}"], ["does not exist"]),
        (["train", "{table}", "--out", "{new}", "--model", "dlmr"], ["unknown model", "did you mean 'dlrm'"]),
        (["train", "{table}", "--out", "{new}", "--model", "sequence"], ["needs a feature of kind sequence"]),
        (["train", "{table}", "--out", "{new}", "--fold", "of"], ["train.fold"]),
        (["train", "{table}", "--out", "{new}", "--set", "train.bach_size=3"], ["did you mean 'batch_size'"]),
        (["train", "{table}", "--out", "{new}", "--set", "train.batch_size=0"], ["train.batch_size"]),
        (["train", "{table}", "--out", "{new}", "--set", "train.dense.name=Adamm"], ["Adamm", "did you mean 'Adam'"]),
        (["train", "{table}", "--out", "{new}", "--set", "train.dense.options.lrr=1"], ["lrr"]),
        (["train", "{table}", "--out", "{new}", "--set", "train.device=tpu"], ["tpu"]),
        (["train", "{table}", "--out", "{run}"], ["exists already", "--resume"]),
        (["train", "{table}", "--out", "{new}", "--resume"], ["is not a run"]),
        (["train", "{table}", "--out", "{run}", "--resume", "--set", "train.seed=9"], ["keeps its settings", "seed"]),
        (["evaluate", "{nowhere}", "{table}"], ["is not a run"]),
        (["evaluate", "{run}", "{table}", "--split", "tset"], ["tset"]),
        (["evaluate", "{run}", "{table}", "--checkpoint", "bset"], ["unknown checkpoint"]),
        (["predict", "{run}", "{logs}", "--out", "{new}"], ["has no manifest.json"]),
        (["report", "{nowhere}"], ["not a run"]),
        (
            ["plan", "{table}", "--devices", "2", "--memory-gb", "nan"],
            ["--memory-gb must be a number above 0; got nan"],
        ),
        (
            ["plan", "{table}", "--devices", "2", "--memory-gb", "inf"],
            ["--memory-gb must be a number above 0; got inf"],
        ),
        (["plan", "{table}", "--devices", "0"], ["--devices must be above 0; got 0"]),
        (["run", "dmeo", "--out", "{new}"], ["unknown recipe 'dmeo'", "did you mean 'demo'"]),
        (["run", "ebnerd", "--out", "{new}"], ["reads your logs", "--logs"]),
        (["run", "demo", "--out", "{new}", "--logs", "{logs}"], ["generates its logs"]),
    ],
)
def test_one_clear_line_and_nothing_written(
    cli: Any, made: Path, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "new": tmp_path / "new",
        "nowhere": tmp_path / "nowhere",
        "empty": tmp_path / "empty",
        "logs": made / "logs",
        "table": made / "folded",
        "run": made / "run",
    }
    before = sorted(made.rglob("*"))
    ran = cli(*(argument.format(**places) for argument in arguments))
    one_line(ran, *parts)
    assert sorted(made.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "not parquet"])
def test_a_damaged_table_names_its_file(cli: Any, made: Path, tmp_path: Path, damage: str) -> None:
    table = tmp_path / "folded"
    shutil.copytree(made / "folded", table)
    path = sorted(table.glob("train/*.parquet"))[0]
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"hello")
    one_line(cli("inspect", table, "--verify"), path.name)


def test_a_loss_that_is_not_finite_stops_with_one_line(cli: Any, made: Path, tmp_path: Path) -> None:
    ran = cli(
        *("train", made / "folded", "--out", tmp_path / "run", "--set", "train.dense.options.lr=1e30"),
        *("--set", "train.batch_size=256", "--set", "reader.workers=0", "--set", "train.clip_norm=null"),
    )
    one_line(ran, "loss", "offending-batch")
    assert any((tmp_path / "run" / "offending-batch").iterdir())
