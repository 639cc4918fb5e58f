"""Every verb does what its help says, and prints what it did."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recfold.cli.main import VERBS

SMALL = [
    "--set=train.batch_size=256",
    "--set=train.throughput_steps=0",
    "--set=reader.workers=0",
    "--set=tables.dim=8",
]


def test_the_whole_road(cli: Any, tmp_path: Path) -> None:
    logs, table, run = tmp_path / "logs", tmp_path / "folded", tmp_path / "run"
    ran = cli("synth", logs, "--samples", 800, "--seed", 1)
    assert (ran.code, "800 samples" in ran.out, "Bayes AUC 0." in ran.out) == (0, True, True)
    ran = cli("fold", logs, "--out", table, "--split-time", 0.2, "--window", "12h", "--session-gap", "10m")
    assert ran.code == 0, ran.err
    assert "candidate rows 800 = 640 train + 160 validation + 0 in quarantine" in ran.out
    ran = cli("inspect", table, "--verify")
    assert "every file has the checksum that the manifest says" in ran.out
    assert "user_a is stored as a session group: about" in ran.out
    assert "per sample: " in ran.out
    ran = cli("inspect", table, "--json")
    assert json.loads(ran.out)["samples"] == 800
    ran = cli("train", table, "--out", run, "--model", "dlrm", "--order", "time", "--fold", "lookups", *SMALL)
    assert ran.code == 0, ran.err
    assert "trained 3 steps" in ran.out
    assert "serves 26 tables" in ran.out
    assert "train: 3 / 3  loss" in ran.err
    ran = cli("train", table, "--out", run, "--resume", "--epochs", 2)
    assert ran.code == 0, ran.err
    assert "trained 6 steps" in ran.out
    ran = cli("evaluate", run, table)
    assert "popularity so far" in ran.out
    ran = cli("predict", run, table, "--out", tmp_path / "scores.parquet")
    assert ran.code == 0, ran.err
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores.height == 800
    assert scores["score.click"].is_between(0, 1).all()
    ran = cli("explain", run)
    assert ran.code == 0, ran.err
    assert "lookups of a batch of 256 samples" in ran.out
    ran = cli("report", run, "--out", tmp_path / "page.html")
    assert "<svg" in (tmp_path / "page.html").read_text()
    ran = cli("expand", table, "--out", tmp_path / "plain")
    assert ran.out == f"{tmp_path / 'plain'}: 800 samples\n"
    assert pl.read_parquet(tmp_path / "plain" / "*" / "*.parquet").height == 800


def test_a_recipe_runs_from_logs_to_report_and_is_not_done_twice(cli: Any, tmp_path: Path) -> None:
    small = ["synth.samples=600", "run.train.throughput_steps=1", "run.reader.workers=0", "run.tables.dim=4"]
    arguments = ["run", "demo", "--out", tmp_path, *(f"--set={setting}" for setting in small)]
    ran = cli(*arguments)
    assert ran.code == 0, ran.err
    assert "the best possible AUC on these generated samples is 0." in ran.out
    assert (tmp_path / "run" / "report.html").exists()
    before = (tmp_path / "table" / "manifest.json").stat().st_mtime_ns
    ran = cli(*arguments)
    assert ran.code == 0, ran.err
    assert "the table is there already" in ran.err
    assert (tmp_path / "table" / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("verb", [verb.__name__ for verb in VERBS])
def test_help_has_an_example(cli: Any, verb: str) -> None:
    ran = cli(verb, "--help")
    assert ran.code == 0
    assert f"recfold {verb} " in ran.out.partition("Example")[2]


def test_version(cli: Any) -> None:
    ran = cli("--version")
    assert ran.out.startswith("recfold 0.")


@pytest.mark.parametrize(
    "arguments", [["fould"], ["fold"], ["fold", "x", "--oot", "y"], ["synth", "x", "--samples", "many"]]
)
def test_wrong_usage_exits_with_2(cli: Any, arguments: list[str]) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_the_page_of_the_command_line_is_its_help() -> None:
    path = Path(__file__).parents[2] / "docs" / "make_cli.py"
    spec = importlib.util.spec_from_file_location("make_cli", path)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run `make docs`"


def test_explain_prints_what_ran_on_how_many_rows(cli: Any, made: Path) -> None:
    ran = cli("explain", made / "run", made / "folded", "--json")
    assert ran.code == 0, ran.err
    data = json.loads(ran.out)
    assert data["num_samples"] == 256
    top = next(own for own in data["operations"] if own["module"] == "top.0")
    assert top["name"] == "linear"
    assert 0 < top["rows_used"] < top["rows_needed"] == 256
    assert 0 < data["total"]["flops_used"] < data["total"]["flops_needed"]
    assert data["total"]["flops_used"] == sum(own["flops_used"] for own in data["operations"])
    assert 0 < data["total"]["ids_used"] < data["total"]["ids_needed"]
    ran = cli("explain", made / "run")
    (row,) = (line for line in ran.out.splitlines() if "top.0" in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["top.0", "linear", str(top["rows_used"]), "256"]
    assert f"rows: {data['total']['rows_used']:,} of {data['total']['rows_needed']:,}" in ran.out
    assert "% of the forward's floating-point operations" in ran.out


def test_explain_says_what_is_missing(cli: Any, made: Path, tmp_path: Path) -> None:
    ran = cli("explain", made)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "is not a run" in ran.err
    ran = cli("explain", made / "run", tmp_path / "nothing")
    assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_a_full_disk_is_one_line(cli: Any, made: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    shutil.copytree(made / "run", tmp_path / "run")
    ran = cli("report", tmp_path / "run", "--out", "/dev/full/page.html")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
