"""What holds for every bench."""

import json
from pathlib import Path

import pytest

from recfold.bench import BENCHES, BenchSettings, run_bench
from recfold.bench.work import open_work
from recfold.spec import InputError

KEYS = ["bench", "case", "metric", "ours", "peer", "peer_name", "ratio", "unit", "settings"]
LINES = {
    "storage": {(case, peer) for case in ("tuned", "default") for peer in ("arrival-order", "clustered")},
    "fold": {("fold", "polars")},
    "reader": {("tuned", "arrival-order-kjt"), ("tuned", "clustered-hash")},
}


def test_every_bench_is_there() -> None:
    assert list(BENCHES) == [*LINES, "train-pooled", "train-sequence", "exchange", "plan"]


@pytest.mark.parametrize("name", LINES)
def test_a_bench_gives_a_line_for_every_case_and_peer(name: str, settings: BenchSettings) -> None:
    lines = [json.loads(found.to_json()) for found in run_bench(name, settings)]
    assert {(line["case"], line["peer_name"]) for line in lines} == LINES[name]
    for line in lines:
        assert list(line) == KEYS
        assert line["bench"] == name
        assert (line["metric"], line["unit"]) == (
            ("bytes", "bytes") if name == "storage" else ("samples_per_s", "samples/s")
        )
        assert line["ours"] > 0
        assert line["peer"] > 0
        assert line["settings"]["samples"] == settings.samples
        assert set(line["settings"]["versions"]) >= {"recfold", "pyarrow", "polars", "torch"}
        if name == "storage":
            assert line["ratio"] == pytest.approx(line["peer"] / line["ours"])
        else:
            low, high = line["settings"]["interval"]
            assert low <= line["ratio"] <= high
            assert line["settings"]["repeats"] == settings.repeats


@pytest.mark.parametrize("workload", ["catalog", "sequence", "multihot"])
def test_every_workload_is_read_alike_on_all_sides(workload: str, tmp_path: Path) -> None:
    small = BenchSettings(workload=workload, samples=700, repeats=1, batch_size=128, folder=tmp_path)
    assert [line.settings["samples_read"] for line in run_bench("reader", small)] == [630, 630]


def test_an_unknown_bench_answers_with_the_right_ones() -> None:
    with pytest.raises(
        InputError,
        match=r"unknown bench 'storrage'; expected one of exchange, fold, plan, reader, storage, train-.* did you mean",
    ):
        run_bench("storrage")


def test_an_unknown_workload_answers_with_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown workload 'poold'; expected one of "):
        run_bench("storage", BenchSettings(workload="poold", samples=10, folder=tmp_path))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make"):
        run_bench("fold", BenchSettings(samples=10, folder=tmp_path / "file" / "below"))


def test_a_kept_folder_is_used_again_and_a_temporary_one_is_gone(settings: BenchSettings, tmp_path: Path) -> None:
    made: list[Path] = []
    with open_work(settings.model_copy(update={"folder": tmp_path})) as work:
        (tmp_path / "pooled-3000-5-logs-old").mkdir()
        for _ in range(2):
            assert work.kept("logs", ("logs",), lambda out: (out.mkdir(), made.append(out))) == made[0]
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [made[0].name]
    with open_work(settings.model_copy(update={"folder": None})) as work:
        assert work.folder.exists()
    assert not work.folder.exists()
