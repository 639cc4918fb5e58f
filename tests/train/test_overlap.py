"""Overlap changes nothing, batch norm over ranks is that of one process, and what crossed the wire is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_norm_model import model_with_batch_norm, normalising
from test_ranks import FLOAT64, RUN, assembled, joined_batches, start_ranks, weights

from recfold.reader import Reader
from recfold.table import FoldedTable
from recfold.train import RunSettings, read_journal
from recfold.train.effective import run_schema
from recfold.train.feed import Feed
from recfold.train.learner import Learner

Settings = Callable[..., RunSettings]
Differences = Callable[[Any, Any], list[str]]
WAYS = ("on", "off")
STOPS = ("train.epochs=4", "train.eval_every=5", "train.log_every=4", "train.max_steps=11", "train.dtype=float32")
MODELS = {"dlrm": (), "sequence": (), "deepfm": (), "lookups": ("train.fold=lookups",)}


@pytest.fixture(scope="module", params=[2, 3], ids=lambda size: f"{size} ranks")
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def folder(size: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"overlap{size}")


@pytest.fixture(scope="module")
def found(size: int, folder: Path, table: FoldedTable, settings: Settings) -> list[dict[str, Any]]:
    """What the ranks gave, all cases in one start."""

    def case(name: str, kind: str, *changes: str, model: str = "dlrm", **more: Any) -> dict[str, Any]:
        own = settings(*changes, model=model).model_dump(mode="json")
        return {"name": name, "kind": kind, "table": str(table.path), "settings": own, **more}

    cases = []
    for way in WAYS:
        overlap = f"ranks.overlap={way}"
        for name, changes in MODELS.items():
            model, own = "dlrm" if name == "lookups" else name, ("reader.block_samples=64", *changes, overlap)
            in_waves = f"ranks.waves={3 if way == 'on' else 1}"
            cases.append(case(f"{name} {way}", "steps", *own, in_waves, model=model, ahead=way == "on"))
        out = str(folder / way)
        cases.append(case(f"run {way}", "run", *RUN, *STOPS, overlap, out=out, profile=True))
        cases.append(case(f"again {way}", "run", *RUN, *STOPS, overlap, "train.max_steps=16", out=out, resume=True))
    cases += [
        case("norm", "steps", *FLOAT64, **{"batch norm": True, "ahead": True}),
        case("norm skipped", "steps", *FLOAT64, **{"batch norm": True, "skips batch norm": True}),
        case("nan", "run", *RUN, "train.dense.options.lr=1e300", "train.dense.name=SGD", out=str(folder / "nan")),
    ]
    return start_ranks(folder, cases, size)


@pytest.mark.parametrize("name", MODELS)
def test_overlap_does_not_change_a_bit(name: str, found: list[dict[str, Any]], differences: Differences) -> None:
    for rank in found:
        assert "error" not in rank[f"{name} on"]
        assert differences(rank[f"{name} on"], rank[f"{name} off"]) == []


def test_a_run_with_evaluations_checkpoints_and_a_resume_is_the_same_bits(
    found: list[dict[str, Any]], folder: Path, differences: Differences
) -> None:
    assert found[0]["run on"]["steps"] == 11
    assert found[0]["again on"]["steps"] == 16
    assert differences(weights(folder / "on"), weights(folder / "off")) == []
    timed = ("samples_per_s", "seconds")
    on, off = (
        [{k: v for k, v in r.items() if k not in timed} for r in read_journal(folder / way) if r["kind"] == "step"]
        for way in WAYS
    )
    assert on == off


def test_what_crossed_the_wire_is_in_the_journal_and_adds_up(found: list[dict[str, Any]], folder: Path) -> None:
    records = read_journal(folder / "on")
    steps = [record for record in records if record["kind"] == "step"]
    first = found[0]["run on"]["wire"]
    assert first["steps"] == 11
    assert {"sizes", "ids", "lengths", "vectors", "gradients"} <= first["per_sample"].keys()
    own = steps[:2]  # 8 of the 11 steps of the first start
    assert all(record["wire_dense_bytes"] > 0 for record in own)
    for kind in ("ids", "vectors", "gradients"):
        assert 4 * sum(record["wire_bytes"][kind] for record in own) < first["per_sample"][kind] * first["samples"]
    vectors, gradients = (sum(rank["dlrm on"]["sent"][kind] for rank in found) for kind in ("vectors", "gradients"))
    assert vectors == gradients > 0


def test_a_profiled_run_has_a_trace_of_every_rank_and_says_what_was_hidden(
    found: list[dict[str, Any]], folder: Path, size: int
) -> None:
    for rank in range(size):
        events = json.loads((folder / "on" / "trace" / f"rank-{rank}.json").read_text())["traceEvents"]
        names = {event["name"] for event in events}
        assert {"look up", "forward", "backward", "update tables", "update dense", "send ids", "rows arrive"} <= names
        travels = [event for event in events if event["name"] == "vectors travel"]
        forwards = [event for event in events if event["name"] == "forward" and event["ph"] == "X"]
        assert len(travels) == 5
        first, last = forwards[0]["ts"], forwards[-1]["ts"] + forwards[-1]["dur"]
        assert any(first < event["ts"] + event["dur"] < last for event in travels)
    hidden = next(record for record in read_journal(folder / "on") if record["kind"] == "profile")
    assert hidden["steps"] == 5
    for kind, under_way in hidden["under_way_ms"].items():
        assert hidden["hidden_ms"][kind] + hidden["waited_ms"][kind] == pytest.approx(under_way, rel=1e-6, abs=1e-6)
    assert {"ids", "vectors", "gradients", "dense"} <= hidden["under_way_ms"].keys()


def test_a_loss_that_is_not_finite_stops_all_ranks(found: list[dict[str, Any]], folder: Path) -> None:
    errors = [rank["nan"]["error"] for rank in found]
    assert sum(error.startswith("InputError: the loss of step") for error in errors) == 1
    assert sum(error.startswith("OtherRankFailed") for error in errors) == len(errors) - 1


def test_batch_norm_over_ranks_is_that_of_one_process(
    found: list[dict[str, Any]], size: int, table: FoldedTable, settings: Settings
) -> None:
    own = settings(*FLOAT64)
    with normalising(model_with_batch_norm):
        learner = Learner(run_schema(table.schema, None, own.tables), own, updates=30)
    losses = [learner.step(batch).loss for batch in joined_batches(table, own, size)]
    case = found[0]["norm"]
    assert 0 in [number for rank in found for number in rank["norm"]["samples"]]
    torch.testing.assert_close(case["losses"], losses, rtol=1e-9, atol=1e-12)
    for name, tensor in learner.model.state_dict().items():
        torch.testing.assert_close(case["model"][name], tensor, rtol=1e-9, atol=1e-12, msg=name)
    whole = assembled([rank["norm"]["pieces"] for rank in found])
    for name, tensor in learner.assembled.tables.state().items():
        torch.testing.assert_close(whole[name], tensor, rtol=1e-9, atol=1e-12, msg=name)


def test_ranks_that_normalise_in_different_numbers_are_told_so(found: list[dict[str, Any]]) -> None:
    for rank in found:
        error = rank["norm skipped"]["error"]
        assert "ranks have called batch norm in different numbers or orders in one step" in error
        assert "rank 1 is done after 1" in error


def test_a_feed_stands_where_the_last_given_batch_ends(table: FoldedTable, settings: Settings) -> None:
    with Reader(table, "train") as plain, Reader(table, "train") as ahead:
        feed = Feed(ahead)
        for batch, expected in zip(feed.epoch(), plain.lockstep(), strict=True):
            following = feed.ahead()
            assert following is feed.ahead()
            assert torch.equal(batch.labels, expected.labels)
            assert feed.state_dict() == plain.state_dict()
            assert feed.num_steps() == plain.num_steps()
        assert following is None
        assert feed.state_dict() == ahead.state_dict()
        assert ahead.epoch == 1
