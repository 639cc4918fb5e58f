"""Which cases run, on what logs, and what is read for them."""

from typing import Any

import pytest

from recfold.bench import BenchSettings
from recfold.bench.training.batches import num_training_samples, read_batches
from recfold.bench.training.cases import CASES, change_of, chosen_cases
from recfold.spec import InputError


def names(bench: str, **given: object) -> list[str]:
    return [case.name for case in chosen_cases(bench, BenchSettings.parse(given, "a test"))]


def test_every_case_runs_by_default_with_its_own_batch_size() -> None:
    assert names("train-pooled") == ["pooled", "one-group", "catalog", "no-repeats"]
    assert names("train-sequence") == ["sequence"]
    assert [case.batch_size for bench in CASES for case in chosen_cases(bench, BenchSettings())] == [4096] * 4 + [2048]


def test_cases_are_chosen_by_name_workload_and_groups() -> None:
    assert names("train-pooled", cases=("catalog", "pooled")) == ["pooled", "catalog"]
    assert names("train-pooled", workload="pooled") == ["pooled", "one-group", "no-repeats"]
    assert names("train-pooled", groups="1") == ["pooled", "catalog"]
    (case,) = chosen_cases("train-pooled", BenchSettings(cases=("pooled",), peers=("fold-off",)))
    assert case.peers == ("fold-off",)
    (case,) = chosen_cases("train-pooled", BenchSettings(cases=("pooled",), groups="0.5,0.1", batch_size=64))
    assert (case.change, case.batch_size) == ((0.5, 0.1), 64)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cases": ("poled",)}, "unknown case of train-pooled 'poled'; expected one of .*; did you mean 'pooled'"),
        ({"peers": ("torchrec",)}, "unknown peer of train-pooled 'torchrec'; expected one of fold-off, lookups-only, "),
        ({"workload": "sequence"}, "train-pooled has no such case; got workload sequence; expected pooled "),
        ({"cases": ("one-group",), "groups": "5"}, "--groups goes with cases that do not say their own groups"),
        ({"groups": "two"}, "wrong groups; got two; expected a number of groups, or probabilities of change"),
        ({"groups": "0"}, "wrong groups; got 0"),
    ],
)
def test_a_wrong_choice_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        names("train-pooled", **given)


def test_groups_are_a_number_or_probabilities() -> None:
    assert change_of("4") == (0.02, 0.05, 0.1, 0.2)
    assert change_of("1.0") == (1.0,)


def test_batches_are_full_and_folded_as_the_case_says(small: Any) -> None:
    assert [batch.num_samples for batch in small.batches] == [96] * 3
    factors = {name: group.index.dedup_factor for name, group in small.batches[0].groups.items()}
    user = [factor for name, factor in factors.items() if name.startswith("user")]
    assert len(user) == (1 if small.case.name == "one-group" else 4)
    assert (max(user) < 1.05) == (small.case.name == "no-repeats")
    assert ("item" in factors) == (small.case.name == "catalog")
    for feature, table in small.schema.tables.items():
        assert table.rows is not None
        assert table.rows <= 300, feature


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
def test_fewer_samples_than_a_batch_is_an_error(small: Any) -> None:
    with pytest.raises(InputError, match="fewer training samples than one batch; got 450; expected at least 600"):
        read_batches(small.table, small.schema, small.run, 1, batch_size=600)
    assert num_training_samples(small.table) == 450
