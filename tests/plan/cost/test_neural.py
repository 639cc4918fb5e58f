"""The cost network in numpy gives what torch gives; it learns, and is read back as it was written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recfold.plan.cost.ablation import LEFT_OUT, without
from recfold.plan.cost.analytic import AnalyticCost
from recfold.plan.cost.fit import arrays_of, predict, sets_tensor
from recfold.plan.cost.inputs import NAMES, inputs_of_pieces
from recfold.plan.cost.measured_sets import MeasuredSet
from recfold.plan.cost.network import CostNetwork, Training, train_network
from recfold.plan.cost.neural import NeuralCost, load_cost, scale_ms, shipped_cost
from recfold.plan.cost.samples import piece_columns
from recfold.plan.cost.sets import SetDraw, draw_set
from recfold.plan.pool import table_pool
from recfold.spec import InputError

HOW = SetDraw(max_bytes=10**9)


@pytest.fixture(scope="module")
def sets() -> list[MeasuredSet]:
    """Sets whose cost is the formula's, and a tenth more from 30 ms on."""
    pool, cost = table_pool(0, num_tables=60), AnalyticCost()
    found = []
    for number in range(160):
        pieces = draw_set(pool, number, HOW)
        ms = float(cost.ms(cost.rows(pieces).sum(0, keepdims=True))[0])
        found.append(MeasuredSet(number, number % 4 == 0, piece_columns(pieces), (ms * (1.1 if ms > 30 else 1.0),)))
    return found


def test_numpy_and_torch_agree(sets: list[MeasuredSet]) -> None:
    own = sets_tensor(sets, AnalyticCost())
    torch.manual_seed(0)
    network = CostNetwork(own.inputs.mean(0), own.inputs.std(0).clamp_min(1e-3))
    with torch.no_grad():
        wanted = network(own).numpy()
    found = predict(NeuralCost(arrays_of(network), AnalyticCost(), {}), sets)
    np.testing.assert_allclose(found, wanted, rtol=2e-4)


def test_it_learns_what_the_formula_does_not_say(sets: list[MeasuredSet]) -> None:
    analytic = AnalyticCost(tuple(1.5 * ns for ns in AnalyticCost().ns))
    train, test = ([own for own in sets if own.unseen == unseen] for unseen in (False, True))
    how = Training(epochs=60, batch_size=32)
    network, curve = train_network(sets_tensor(train[10:], analytic), sets_tensor(train[:10], analytic), how)
    assert min(curve.validation) < 0.5 * curve.validation[0]
    ms = np.array([own.ms for own in test])
    assert np.abs(predict(NeuralCost(arrays_of(network), analytic, {}), test) / ms - 1).mean() < 0.1


def test_same_seed_same_network(sets: list[MeasuredSet]) -> None:
    own = sets_tensor(sets, AnalyticCost())
    first, second = (train_network(own, own, Training(epochs=2, seed=3))[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_left_out_changes_nothing(sets: list[MeasuredSet]) -> None:
    for group in LEFT_OUT:
        (plain,) = without(group, sets[1:2], sets)
        changed = sets[1].columns.copy()
        if group == "accesses":
            changed[:, 5:] = changed[:, 21:4:-1]
        elif group == "pooling":
            changed[:, 3] *= 2
        elif group == "lists":
            changed[:, 2:4] *= 2
        else:
            changed[:, {"dim": 0, "rows": 1, "size": 4}[group]] *= 2
        (other,) = without(group, [replace(sets[1], columns=changed)], sets)
        np.testing.assert_allclose(other.columns, plain.columns)
        assert not np.allclose(plain.columns, sets[1].columns)


def test_taken_sets_are_the_same_sets(sets: list[MeasuredSet]) -> None:
    own = sets_tensor(sets, AnalyticCost())
    network = CostNetwork(own.inputs.mean(0), own.inputs.std(0).clamp_min(1e-3))
    numbers = torch.tensor([5, 0, 5, 11])
    with torch.no_grad():
        torch.testing.assert_close(network(own.take(numbers)), network(own)[numbers], rtol=1e-4, atol=1e-6)


def test_inputs_have_their_names() -> None:
    piece = table_pool(0, num_tables=4)[1].load(32).whole()
    (found,) = inputs_of_pieces([piece])
    by_name = dict(zip(NAMES, found, strict=True))
    assert by_name["dim"] == pytest.approx(np.log(32))
    assert by_name["lists"] == pytest.approx(np.log(4097))
    assert [by_name[f"accesses_{n}"] for n in range(17)] == list(piece.table.accesses)


def test_a_saved_cost_is_read_back(tmp_path: Path) -> None:
    cost = shipped_cost()
    cost.save(tmp_path / "own.safetensors")
    again = load_cost(tmp_path / "own.safetensors")
    pieces = [table.load(64).whole() for table in table_pool(0, num_tables=5)]
    sums = cost.rows(pieces)
    np.testing.assert_array_equal(again.rows(pieces), sums)
    np.testing.assert_array_equal(again.ms(sums), cost.ms(sums))
    assert again.facts == cost.facts
    assert again.exchange.keys() == cost.exchange.keys()


def test_a_cost_is_not_written_over_by_its_own_facts(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"cannot write a fitted cost to .*mine\.json; expected a name that ends in \.saf"
    ):
        shipped_cost().save(tmp_path / "mine.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*file; got .*; name another folder"):
        shipped_cost().save(tmp_path / "file" / "mine.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_cost_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recfold cost collect"):
        load_cost(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"12345678901234567890")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is no fitted cost"):
        load_cost(tmp_path / "bad.safetensors")


def test_the_shipped_cost_says_what_it_was_fitted_on() -> None:
    facts = shipped_cost().facts
    assert facts["hardware"]["cpu"]
    assert facts["hardware"]["threads"] == 1
    assert facts["error"]["large"] <= max(1.5 * facts["repeat_noise"]["large"], 0.06)
    assert "/" not in json.dumps(facts["hardware"]["versions"])


def test_pieces_scale_with_the_formula() -> None:
    pieces = [table.load(64).whole() for table in table_pool(0, num_tables=5)]
    rows = AnalyticCost().rows(pieces)
    np.testing.assert_allclose(scale_ms(AnalyticCost(), piece_columns(pieces)), rows[:, 0] + rows[:, 1])
