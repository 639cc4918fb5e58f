"""`recfold bench`: a table, or one JSON object a line and nothing else on standard output."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_json_is_one_object_a_line(cli: Any, tmp_path: Path) -> None:
    ran = cli("bench", "storage", "--samples", 400, "--seed", 2, "--dir", tmp_path / "bench", "--json")
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [(line["case"], line["peer_name"]) for line in lines] == [
        ("tuned", "arrival-order"),
        ("tuned", "clustered"),
        ("default", "arrival-order"),
        ("default", "clustered"),
    ]
    assert all(line["settings"]["samples"] == 400 for line in lines)
    assert all(line["settings"]["seed"] == 2 for line in lines)
    assert "samples written: 400 / 400" in ran.err
    assert any((tmp_path / "bench").iterdir())


def test_the_table_says_what_was_measured_how_often(cli: Any, tmp_path: Path) -> None:
    ran = cli("bench", "reader", "--samples", 400, "--dir", tmp_path, "--repeats", 1)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("reader: workload pooled, samples 400, seed 0")
    for word in ("arrival-order-kjt", "clustered-hash", "samples/s", "a ratio above 1 means that recfold is better"):
        assert word in ran.out


def test_a_training_bench_says_what_it_compares(cli: Any, tmp_path: Path) -> None:
    ran = cli(
        *("bench", "train-pooled", "--case", "no-repeats", "--metric", "samples_per_s", "--samples", 200, "--steps", 1),
        *("--batch-size", 32, "--dump", tmp_path / "dump", "--dir", tmp_path / "kept", "--table-rows", 50),
    )
    assert ran.code == 0, ran.err
    assert ran.out.startswith("train-pooled: workload pooled, samples 200, seed 0")
    for word in ("no-repeats", "fold-off", "lookups-only", "samples/s"):
        assert word in ran.out
    assert (tmp_path / "dump" / "no-repeats" / "case.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["raeder"],
            "unknown bench 'raeder'; expected one of exchange, fold, plan, reader, storage, train-pooled, ",
        ),
        (
            ["storage", "--workload", "pool"],
            "unknown workload 'pool'; expected one of catalog, multihot, pooled, sequence",
        ),
        (["fold", "--samples", "0"], "recfold bench: samples: Input should be greater than 0; got 0"),
        (
            ["train-pooled", "--case", "poold"],
            "unknown case of train-pooled 'poold'; expected one of catalog, no-repeats",
        ),
        (["train-pooled", "--metric", "speed"], "recfold bench: metrics.0: "),
        (["train-pooled", "--groups", "none"], "wrong groups; got none; expected a number of groups, or probabilities"),
        (["fold", "--repeats", "0"], "recfold bench: repeats: Input should be greater than 0; got 0"),
    ],
)
def test_a_wrong_argument_is_one_line(cli: Any, arguments: list[str], message: str) -> None:
    ran = cli("bench", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1
