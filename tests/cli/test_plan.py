"""Verbs plan and simulate, from the command line to files that training and simulation take."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from recfold.plan import SEARCHERS, load_plan
from recfold.plan.cost.measured import Timing
from recfold.plan.piece import Piece
from recfold.train import read_journal

SMALL = ("--set", "tables.dim=8", "--set", "train.batch_size=128")


@pytest.fixture(scope="module")
def planned(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for plans of this module."""
    return tmp_path_factory.mktemp("plans")


def test_a_plan_is_explained_and_trained_on(cli: Cli, made: Path, planned: Path) -> None:
    out = planned / "plan.json"
    ran = cli("plan", made / "folded", "--devices", 2, "--memory-gb", 1, "--seconds", 0.3, "--out", out, *SMALL)
    assert ran.code == 0, ran.err
    for text in ("26 tables on 2 ranks", "slowest rank", "lower bound", "above it", "its check", "cost fitted on"):
        assert text in ran.out
    assert load_plan(out).ranks == 2
    explained = json.loads((planned / "plan.explained.json").read_text())
    assert explained["search"] == "best"
    assert len(explained["rating"]["ranks"]) == 2
    assert len(explained["loads"]["tables"]) == 26
    run = planned / "run"
    quick = ("--set", "train.max_steps=2", "--set", "train.eval_every=never", "--set", "train.throughput_steps=0")
    options = ("--set", "reader.workers=0", "--set", "train.log_every=1", *quick)
    # the same arguments as one process: the plan of two ranks is refused by it, and taken by two
    refused = cli("train", made / "folded", "--out", run, "--plan", out, *SMALL, *options)
    assert (refused.code, "the plan is for 2 ranks" in refused.err) == (1, True)
    trained = cli("train", made / "folded", "--out", run, "--plan", out, "--nproc", 2, *SMALL, *options)
    assert trained.code == 0, trained.err
    assert load_plan(run / "plan.json") == load_plan(out)
    assert [own["step"] for own in read_journal(run) if own["kind"] == "step"] == [1, 2]


def test_compare_lists_every_search(cli: Cli, made: Path) -> None:
    ran = cli("plan", made / "folded", "--devices", 2, "--splits", "none", "--seconds", 0.2, "--compare", *SMALL)
    assert ran.code == 0, ran.err
    listed = re.findall(r"^│ ([a-z-]+) +│ [\d.]+ ms", ran.out, re.MULTILINE)
    assert sorted(listed) == sorted(SEARCHERS)


def test_a_found_plan_is_timed_on_this_machine(
    cli: Cli, made: Path, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that takes a millisecond a piece."""
    sets: list[int] = []

    class Clock:
        def __init__(self, **_: object) -> None:
            pass

        def measure_in_turns(self, held: Sequence[Sequence[Piece]]) -> list[Timing]:
            sets.extend(len(pieces) for pieces in held)
            return [Timing(float(len(pieces)), 0.0, 0.0, 0.0, (), ()) for pieces in held]

    monkeypatch.setattr("recfold.plan.timed.Stopwatch", Clock)
    arguments = ("plan", made / "folded", "--devices", 2, "--splits", "none", "--search", "ldm", "--cost", "measured")
    ran = cli(*arguments, *SMALL)
    assert ran.code == 0, ran.err
    assert "computing, measured" in ran.out
    assert f"computing takes {max(sets):.2f} ms on the slowest rank, predicted" in ran.out
    assert sum(sets) == 26
    found = json.loads(cli(*arguments, "--json", *SMALL).out)
    assert found["explained"]["measured_ms"] == sets[:2]
    tiers = '[[tiers]]\nname = "hbm"\ngb = 1\ngbytes_per_s = 100\n'
    (planned / "tiers.toml").write_text(tiers)
    refused = cli(*arguments, "--cluster", planned / "tiers.toml", *SMALL)
    assert (refused.code, "--cost measured times this machine; got a cluster with memory tiers" in refused.err) == (
        1,
        True,
    )


def test_the_answer_as_json(cli: Cli, made: Path) -> None:
    ran = cli("plan", made / "folded", "--devices", 2, "--search", "ldm", "--cost", "analytic", "--json", *SMALL)
    found = json.loads(ran.out)
    rating = found["explained"]["rating"]
    assert rating["slowest_ms"] == max(own["compute_ms"] + own["exchange_ms"] for own in rating["ranks"])
    assert found["plan"]["topology"]["ranks"] == 2


def test_an_impossible_task_says_which_table_and_what_helps(cli: Cli, made: Path) -> None:
    ran = cli("plan", made / "folded", "--devices", 2, "--memory-gb", 0.001, "--splits", "none", *SMALL)
    assert ran.code == 1
    assert "needs 7,200,000 bytes on one rank" in ran.err
    assert "allow 'user_00' to be split by rows" in ran.err


def test_wrong_options_are_answered_with_the_right_ones(cli: Cli, made: Path) -> None:
    for arguments, text in (
        (("--splits", "row"), "unknown split 'row'"),
        (("--search", "bets"), "did you mean 'best'"),
        (("--cost", "none.safetensors"), "there is no fitted cost"),
    ):
        ran = cli("plan", made / "folded", "--devices", 2, *arguments, *SMALL)
        assert (ran.code, text in ran.err) == (1, True), ran.err
    ran = cli("plan", made / "folded", "--devices", 2, "--seed", -1)
    assert (ran.code, "Invalid value for '--seed'" in ran.err, "Traceback" in ran.err) == (2, True, False)


def test_a_plan_is_simulated_and_replanned_for_a_curve(cli: Cli, made: Path, planned: Path) -> None:
    out = planned / "four.json"
    assert cli("plan", made / "folded", "--devices", 4, "--search", "ldm", "--out", out, *SMALL).code == 0
    slow, fast = (
        json.loads(cli("simulate", out, "--bandwidth-gbps", gbps, "--latency-us", 50, "--json").out)
        for gbps in (1, 100)
    )
    assert slow["ms"] > fast["ms"] > 0
    shown = cli("simulate", out, "--ranks-per-host", 2, "--set", "dense.mflops=1")
    assert "a step takes" in shown.out
    assert "all-reduce" in shown.out
    curve = cli("simulate", out, "--curve", "1,2,4", "--plot", planned / "curve.svg")
    assert "100 %" in curve.out
    assert (planned / "curve.svg").read_text().startswith("<?xml")
    for arguments, text in (
        ((), "nothing to simulate"),
        ((out, "--plot", "a.svg"), "--plot draws a curve"),
        ((out, "--curve", "a"), "no list of numbers"),
        ((out, "--cost", "measured"), "the cost 'measured' times every set that it rates"),
        ((out, "--latency-us", 1), "--latency-us needs"),
        ((planned / "curve.svg",), "is not JSON"),
        ((out, "--search", "best"), "--search changes nothing without --curve; give --curve 1,2,4 too"),
        ((out, "--memory-gb", 1), "--memory-gb changes nothing without --curve"),
        ((out, "--curve", "1,2", "--memory-gb", "inf"), "--memory-gb must be a number above 0"),
        ((out, "--curve", "1,2", "--search", "bets"), "unknown search 'bets'"),
    ):
        ran = cli("simulate", "--no-overlap", *arguments)
        assert (ran.code, text in ran.err) == (1, True), ran.err


def test_options_that_loads_of_a_file_have_settled_are_refused(cli: Cli, made: Path, planned: Path) -> None:
    out = planned / "again.json"
    assert cli("plan", made / "folded", "--devices", 2, "--search", "ldm", "--out", out, *SMALL).code == 0
    explained = planned / "again.explained.json"
    assert cli("plan", explained, "--devices", 3, "--search", "ldm").code == 0
    for option, value in (("--model", "fm"), ("--schema", made / "features.toml"), ("--set", "tables.dim=64")):
        ran = cli("plan", explained, "--devices", 3, option, value)
        assert (ran.code, ran.out) == (1, "")
        assert f"{option} changes nothing where loads are taken from a file; give a folded table" in ran.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("plan.json",), "PLAN"),
        (("--cluster", "cluster.toml"), "--cluster"),
        (("--curve", "1,2"), "--curve"),
        (("--set", "dense.mflops=1"), "--set"),
        (("--no-overlap",), "--overlap"),
        (("--search", "ldm"), "--search"),
    ],
)
def test_a_check_takes_nothing_but_its_runs(cli: Cli, made: Path, arguments: tuple[str, ...], named: str) -> None:
    ran = cli("simulate", "--check", made / "run", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert f"{named} changes nothing with --check: a run has its own; leave {named} out" in ran.err


def test_a_finished_run_is_compared_with_its_simulation(cli: Cli, made: Path) -> None:
    ran = cli("simulate", "--check", made / "run", "--json")
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)
    assert found["ranks"] == 1
    assert found["measured_ms"] > 0
    assert found["error"] == pytest.approx(found["ms"] / found["measured_ms"] - 1)
    assert set(found["phases_ms"]) >= {"lookup", "forward"}
