"""The lines of the bench `exchange`; the ranks of a world size are started once."""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from recfold.batch import Batch
from recfold.bench import BenchSettings, run_bench
from recfold.bench.exchange import bench as cases_of
from recfold.bench.exchange import scaling, steps
from recfold.bench.exchange.bench import MULTIHOT, PEER, chosen_names
from recfold.bench.exchange.cases import asked_case, exchange_run, step_case
from recfold.bench.exchange.multihot_rank import Multihot
from recfold.bench.exchange.rank import Rank, RankTask
from recfold.bench.exchange.sides import dealt_plan
from recfold.bench.exchange.steps import Turns, check_same_losses, rank_world
from recfold.bench.exchange.tap import Tap
from recfold.bench.exchange.world import World
from recfold.bench.measurement import Measurement
from recfold.bench.training.batches import read_batches, training_schema
from recfold.bench.training.peer_batches import lists_of
from recfold.bench.work import Work
from recfold.cli.show_bench import show_bench
from recfold.spec import InputError

KEYS = ["bench", "case", "metric", "ours", "peer", "peer_name", "ratio", "unit", "settings"]
HAS_TORCHREC = importlib.util.find_spec("torchrec") is not None
needs_torchrec = pytest.mark.skipif(not HAS_TORCHREC, reason="TorchRec is not installed (`make peers`)")
DIM = 64
SIZES_BYTES = 8
"""Of the whole numbers with which TorchRec announces what it sends."""


@pytest.fixture(scope="module")
def two_ranks(make_settings: Any) -> Iterator[World]:
    """The one world of two ranks of all these tests."""
    settings = make_settings()
    with rank_world("loopback", 2, Work(settings.folder, settings), settings) as world:
        yield world


@pytest.fixture
def two_are_there(two_ranks: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench takes the two ranks that are there, and starts worlds of other sizes itself."""

    def open_or_start(link: str, ranks: int, *given: Any) -> AbstractContextManager[World]:
        return nullcontext(two_ranks) if ranks == 2 else rank_world(link, ranks, *given)

    for module in (steps, scaling):
        monkeypatch.setattr(module, "rank_world", open_or_start)


@pytest.fixture(scope="module")
def lines(make_settings: Any, two_ranks: World) -> list[dict[str, Any]]:
    """Cases that time steps over loopback."""
    settings = make_settings(cases=("loopback", "int8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "rank_world", lambda *_: nullcontext(two_ranks))
        return [json.loads(found.to_json()) for found in run_bench("exchange", settings)]


def shown(found: Sequence[Measurement]) -> str:
    """The table that a user sees."""
    console = Console(width=200, record=True, file=StringIO())
    show_bench(console, found)
    return console.export_text()


@needs_torchrec
def test_every_case_and_peer_has_a_time_and_bytes(lines: list[dict[str, Any]]) -> None:
    assert "torchrec-vbe" in shown([Measurement(**line) for line in lines])
    assert [(line["case"], line["peer_name"], line["metric"], line["unit"]) for line in lines] == [
        (case, peer, metric, unit)
        for case, peer in (("loopback", "torchrec-kjt"), ("loopback", "torchrec-vbe"), ("int8", "torchrec-kjt"))
        for metric, unit in (("step_ms", "ms"), ("bytes_per_sample", "bytes"))
    ]
    for line in lines:
        assert list(line) == KEYS
        assert line["bench"] == "exchange"
        assert line["ratio"] == pytest.approx(line["peer"] / line["ours"])
        about = line["settings"]
        assert {"nproc", "link", "codec", "threads", "dedup_factors", "versions", "commit", "run"} <= set(about)
        assert len(about["first_losses"]) == 3
        assert about["codec"] == ("int8" if line["case"] == "int8" else "fp32")
        if line["metric"] == "step_ms":
            low, high = about["interval"]
            assert 0 < low <= high
            assert min(about["cpu_ms"].values()) > 0


def of_ranks(settings: BenchSettings) -> tuple[list[list[Batch]], dict[str, int]]:
    """The batches of each of two ranks, and the rank that holds the table of each feature."""
    assert settings.folder is not None
    run = exchange_run(settings)
    table = Work(settings.folder, settings).of("pooled", None).table()
    schema = training_schema(table, run, settings.table_rows)
    found = read_batches(table, schema, run, 16)
    each = len(found) // 2
    plan = dealt_plan(schema, run, 2)
    holder = {name: own.shards[0].rank for name, own in plan.tables.items()}
    return [found[rank::2][:each] for rank in range(2)], {
        name: holder[feature.table or name]
        for name, feature in schema.features.items()
        if (feature.table or name) in holder
    }


def counted(batch: Batch, rank: int, holder: dict[str, int]) -> tuple[int, int]:
    """Lists and ids that a rank asks others for, from the lists themselves."""
    asked = [lists.bags(name) for name, lists in lists_of(batch).items() if holder[name] != rank]
    return sum(len(offsets) - 1 for _, offsets, _ in asked), sum(len(ids) for ids, _, _ in asked)


@needs_torchrec
def test_bytes_are_those_of_an_independent_count(lines: list[dict[str, Any]], make_settings: Any) -> None:
    settings = make_settings()
    batches, holder = of_ranks(settings)
    used = [batches[rank][step % len(batches[rank])] for rank in range(2) for step in range(steps.STEPS)]
    ranks = [rank for rank in range(2) for _ in range(steps.STEPS)]
    samples = settings.batch_size * len(used)
    distinct = [counted(batch, rank, holder) for batch, rank in zip(used, ranks, strict=True)]
    plain = [counted(batch.expand(), rank, holder) for batch, rank in zip(used, ranks, strict=True)]
    (lists, ids), (all_lists, all_ids) = (map(sum, zip(*own, strict=True)) for own in (distinct, plain))
    by_name = {(line["case"], line["peer_name"]): line for line in lines if line["metric"] == "bytes_per_sample"}

    ours = by_name["loopback", "torchrec-kjt"]["settings"]["bytes_by_kind"]["ours"]
    assert ours["ids"] * samples == 8 * ids
    assert ours["lengths"] * samples == 4 * lists
    assert ours["vectors"] * samples == ours["gradients"] * samples == 4 * DIM * lists
    int8 = by_name["int8", "torchrec-kjt"]["settings"]["bytes_by_kind"]["ours"]
    assert int8["ids"] == ours["ids"]
    assert int8["vectors"] * samples == int8["gradients"] * samples == (DIM + 4) * lists

    kjt = by_name["loopback", "torchrec-kjt"]["settings"]["bytes_by_kind"]["peer"]
    assert kjt["vectors"] * samples == kjt["gradients"] * samples == 4 * DIM * all_lists
    sizes = kjt["ids"] * samples - 8 * all_ids - 4 * all_lists
    assert 0 < sizes <= 4 * SIZES_BYTES * len(used)
    vbe = by_name["loopback", "torchrec-vbe"]["settings"]["bytes_by_kind"]["peer"]
    assert vbe["vectors"] == vbe["gradients"] == ours["vectors"]
    for (case, _), line in by_name.items():
        own = line["settings"]["bytes_by_kind"]["ours"]
        sparse = sum(num_bytes for kind, num_bytes in own.items() if kind not in ("dense", "numbers"))
        assert line["ours"] == pytest.approx(sparse), case


def test_ranks_of_a_world_are_asked_together(two_ranks: World) -> None:
    two_ranks.ask("build", side="recfold")
    first, second = two_ranks.ask("train", side="recfold", batches=[0, 1])
    assert first["losses"] == second["losses"]
    assert len(first["losses"]) == 2
    assert first["sent"]["vectors"] != second["sent"]["vectors"]
    assert first["waited_ms"] >= 0


def test_sides_that_disagree_are_not_measured(two_ranks: World) -> None:
    for side in ("recfold", "recfold-bf16"):
        two_ranks.ask("build", side=side)
    two_ranks.ask("train", side="recfold", batches=[0, 1, 2])
    with pytest.raises(InputError, match=r"recfold-bf16 does not train what recfold trains: another loss at step \d"):
        check_same_losses(two_ranks, ("recfold", "recfold-bf16"))


@pytest.mark.usefixtures("two_are_there")
def test_scaling_has_a_line_of_each_number_of_ranks(make_settings: Any) -> None:
    found = run_bench("exchange", make_settings(cases=("scaling",)))
    assert [line.settings["nproc"] for line in found] == [1, 2, 4]
    for line in found:
        assert (line.case, line.metric, line.peer_name, line.unit) == ("scaling", "steps_per_s", "one-rank", "steps/s")
        assert line.ratio == line.ours / line.peer
        assert line.settings["samples_per_s"] == pytest.approx(line.ours * line.settings["nproc"] * 96)
    assert found[0].ratio == 1
    assert "scaling" in shown(found)
    assert "vectors" not in found[0].settings["bytes_by_kind"]["ours"]


@pytest.mark.usefixtures("no_ranks")
def test_without_torchrec_one_clear_line(make_settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise InputError("TorchRec is not installed", todo="install it with `make peers`")

    monkeypatch.setattr(steps, "torchrec_distributed", missing)
    with pytest.raises(InputError, match=r"^TorchRec is not installed; install it with `make peers`$"):
        run_bench("exchange", make_settings(cases=("loopback",)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cases": ("loopbck",)}, "unknown case of exchange 'loopbck'; expected one of .*; did you mean 'loopback'"),
        ({"cases": ("loopback",), "peers": ("torchrec",)}, "unknown peer of these cases 'torchrec'; expected one of"),
        ({"link": "2gbit"}, "unknown link '2gbit'; expected one of 1gbit, loopback"),
        ({"codec": "int8", "cases": ("scaling",)}, "--link and --codec mean the case int8; got --case scaling"),
        ({"peers": ("torchrec-kjt", "fold-off")}, "unknown peer of these cases 'fold-off'; expected one of "),
        ({"cases": ("scaling",), "peers": (PEER,)}, "unknown peer of these cases 'parameter-server'; expected one of"),
        ({"workload": "catalog"}, "unknown workload of these cases 'catalog'; expected one of multihot, pooled"),
        ({"workload": "multihot", "cases": ("int8",)}, "unknown workload of these cases 'multihot'; expected one of "),
        (
            {"cases": ("multihot-fm",)},
            "--samples changes nothing: multihot draws its batches; got --samples 1500; .*--st",
        ),
        ({"link": "1gbit", "nproc": 3, "peers": ("torchrec-kjt",)}, "a link of 1gbit joins two ranks; got 3"),
    ],
)
@pytest.mark.usefixtures("no_ranks")
def test_wrong_settings_are_one_line(make_settings: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_bench("exchange", make_settings(**given))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["loopback", "int8", "scaling", *MULTIHOT]),
        ({"peers": ("torchrec-kjt",)}, ["loopback", "int8"]),
        ({"peers": (PEER,)}, list(MULTIHOT)),
        ({"peers": ("torchrec-vbe", "one-rank")}, ["loopback", "scaling"]),
        ({"peers": ("torchrec-vbe",), "cases": ("int8", "loopback")}, ["loopback"]),
        ({"workload": "pooled"}, ["loopback", "int8", "scaling"]),
        ({"workload": "multihot"}, list(MULTIHOT)),
        ({"link": "1gbit"}, ["1gbit"]),
    ],
)
def test_peers_and_workloads_choose_cases_before_anything_is_measured(given: dict[str, Any], names: list[str]) -> None:
    assert chosen_names(BenchSettings.parse(given, "a test")) == names


def test_multihot_takes_ranks_and_batch_size_where_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Multihot] = []
    monkeypatch.setattr(cases_of, "multihot_measurements", lambda work: asked.append(work) or [])
    for given in ({}, {"nproc": 3, "batch_size": 64, "repeats": 5}):
        run_bench("exchange", BenchSettings.parse({"cases": ("multihot-fm",), **given}, "a test"))
    assert [(work.ranks, work.batch_size, work.steps) for work in asked] == [(4, 512, 2), (3, 64, 5)]


def test_too_few_samples_for_the_ranks_are_one_line(make_settings: Any, tmp_path: Path) -> None:
    settings = make_settings(batch_size=1024)
    table = Work(settings.folder, settings).of("pooled", None).table().path
    run = exchange_run(settings)
    task = RankTask(rank=0, size=2, meet=tmp_path / "meet", table=table, run=run, table_rows=300, batches=4)
    with pytest.raises(InputError, match="fewer full training batches than ranks; got 1; expected at least 2"):
        Rank(task, Tap())


def test_link_and_codec_mean_a_case(make_settings: Any) -> None:
    meant = {
        (link, codec): asked_case(make_settings(link=link, codec=codec))
        for link in (None, "loopback", "1gbit")
        for codec in (None, "fp32", "int8")
    }
    assert meant == {
        (None, None): None,
        (None, "fp32"): "loopback",
        (None, "int8"): "int8",
        ("loopback", None): "loopback",
        ("loopback", "fp32"): "loopback",
        ("loopback", "int8"): "int8",
        ("1gbit", None): "1gbit",
        ("1gbit", "fp32"): "1gbit",
        ("1gbit", "int8"): "1gbit",
    }
    assert step_case("1gbit", make_settings(link="1gbit", codec="int8")).ours == "recfold-int8"
    assert step_case("int8", make_settings(codec="int8")).link == "loopback"


def test_a_turn_takes_as_long_as_its_slowest_rank() -> None:
    turns = Turns()
    answers = [
        {"seconds": seconds, "cpu_seconds": cpu, "sent": {"ids": 8}, "waited_ms": waited}
        for seconds, cpu, waited in ((2.0, 1.0, 3.0), (1.0, 1.5, 5.0))
    ]
    turns.add(answers, steps=2)
    assert (turns.seconds, turns.cpu_seconds, turns.waited_ms) == ([1.0], [0.75], [2.0])
    assert turns.by_kind(samples=4) == {"ids": 2.0}


def test_features_of_a_group_are_dealt_evenly(make_settings: Any) -> None:
    settings = make_settings()
    _, holder = of_ranks(settings)
    names = [name for name in holder if name.startswith("user_")]
    assert torch.tensor([holder[name] for name in names]).bincount().tolist() == [10, 10]
    assert sorted(holder.values()) == [0] * 13 + [1] * 13


def test_what_a_rank_refuses_is_raised_here(two_ranks: World) -> None:
    # the last test: it ends the ranks
    with pytest.raises(InputError, match="unknown side 'recfld'; expected one of"):
        two_ranks.ask("build", side="recfld")
    with pytest.raises(InputError, match=r"rank \d ended with 0"):
        two_ranks.ask("build", side="recfold")
