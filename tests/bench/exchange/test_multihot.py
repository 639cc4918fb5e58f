"""A small `multihot` on two ranks: the parameter server trains recfold's model, and bytes are what a hand counts."""

from io import StringIO

import pytest
from rich.console import Console

from recfold.bench.exchange.multihot import _check_losses, multihot_measurements
from recfold.bench.exchange.multihot_rank import Multihot, draw_batch
from recfold.bench.measurement import Measurement
from recfold.cli.show_bench import show_bench
from recfold.spec import InputError

SMALL = Multihot(features=3, ids_per_list=4, ids=300, dim=4, ranks=2, batch_size=16, steps=6, dtype="float64")


@pytest.fixture(scope="module")
def found() -> dict[str, Measurement]:
    return {own.case: own for own in multihot_measurements(SMALL, timeout_s=120)}


def test_every_case_is_measured_and_both_sides_train_the_same_model(found: dict[str, Measurement]) -> None:
    assert list(found) == ["multihot-fm", "multihot-lr", "multihot-deepfm"]
    for own in found.values():
        assert (own.peer_name, own.metric, own.bench) == ("parameter-server", "bytes_per_sample", "exchange")
        assert own.ratio == own.peer / own.ours
        assert len(own.settings["losses"]) == SMALL.steps


def test_every_case_has_a_row_of_the_table(found: dict[str, Measurement]) -> None:
    console = Console(width=200, record=True, file=StringIO())
    show_bench(console, list(found.values()))
    text = console.export_text()
    assert text.startswith("exchange: workload multihot, seed 0")
    assert all(case in text for case in found)


def test_bytes_of_the_parameter_server_are_those_of_distinct_rows(found: dict[str, Measurement]) -> None:
    rows = 0
    for rank in range(2):
        for step in range(SMALL.steps):
            lists = draw_batch(SMALL, step, rank).groups["sample"].lists
            assert lists is not None
            for key in lists.keys:
                distinct = lists.bags(key)[0].unique()
                rows += int((distinct % 2 != rank).sum())
    samples = 2 * SMALL.batch_size * SMALL.steps
    for case, width in (("multihot-fm", 5), ("multihot-lr", 1), ("multihot-deepfm", 5)):
        sent = found[case].settings["peer_by_kind"]
        assert sent["ids"] * samples == pytest.approx(8 * rows)
        assert sent["vectors"] == sent["gradients"] == pytest.approx(8 * width * rows / samples)


def test_bytes_of_fm_are_ids_once_and_ten_numbers(found: dict[str, Measurement]) -> None:
    lists = rows = 0
    for rank in range(2):
        for step in range(SMALL.steps):
            own = draw_batch(SMALL, step, rank).groups["sample"].lists
            assert own is not None
            lists += len(own.keys) * SMALL.batch_size
            rows += sum(int(((own.bags(key)[0] < 50) == bool(rank)).sum()) for key in own.keys)
    samples = 2 * SMALL.batch_size * SMALL.steps
    for case, width in (("multihot-fm", 4 + 1 + 1), ("multihot-lr", 1)):
        sent = found[case].settings["ours_by_kind"]
        assert sent["ids"] * samples == pytest.approx(8 * rows)
        assert sent["lengths"] * samples == pytest.approx(4 * lists)
        assert sent["vectors"] == sent["gradients"] == pytest.approx(8 * width)


def test_other_losses_are_an_error() -> None:
    with pytest.raises(InputError, match="the sides train different models: loss of fm at step 1"):
        _check_losses("fm", [0.5, 0.5], [0.5, 0.6])
