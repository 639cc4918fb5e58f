"""Each model's answer, written again from its formula with plain loops over samples, and tiny cases by hand."""

import pytest
import torch
from torch import Tensor

from recfold.batch import FoldedSequence, FoldIndex, ModelInputs
from recfold.model import InputShape, build_model
from recfold.model.din import ActivationUnit, activation_reference
from recfold.model.fm import pairs_reference

SHAPE = InputShape({"a": 2, "b": 2}, {}, {"x": 1, "v": 2}, {}, 1, weights=("a", "b"))
B = 3


def inputs() -> ModelInputs:
    torch.manual_seed(3)
    pooled = {"a": torch.randn(B, 2).double(), "b": torch.randn(B, 2).double()}
    dense = {"x": torch.randn(B, 1).double(), "v": torch.randn(B, 2).double()}
    weights = {"a": torch.randn(B, 1).double(), "b": torch.randn(B, 1).double()}
    return ModelInputs(pooled, {}, dense, {}, B, weights)


def model_of(name: str, shape: InputShape = SHAPE, **options: object) -> torch.nn.Module:
    torch.manual_seed(4)
    return build_model(name, shape, options).double()


def flat(given: ModelInputs) -> Tensor:
    return torch.cat([given.pooled["a"], given.pooled["b"], given.dense["x"], given.dense["v"]], dim=1)


def numbers(given: ModelInputs) -> Tensor:
    return torch.cat([given.dense["x"], given.dense["v"]], dim=1)


def first_order(model: torch.nn.Module, given: ModelInputs) -> Tensor:
    total = given.weights["a"] + given.weights["b"] + model.bias
    return total if model.linear is None else total + numbers(given) @ model.linear.weight.T


def test_lr_by_hand() -> None:
    model = model_of("lr")
    with torch.no_grad():
        model.first.bias.fill_(0.5)
        model.first.linear.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
    one = torch.ones(1, 1).double()
    dense = {"x": 2 * one, "v": torch.tensor([[3.0, 4.0]]).double()}
    given = ModelInputs({}, {}, dense, {}, 1, {"a": 0.25 * one, "b": -1 * one})
    assert model(given).tolist() == [[0.5 + 0.25 - 1 + 2 + 30 + 400]]


def test_fm_is_the_sum_over_pairs() -> None:
    model, given = model_of("fm"), inputs()
    factors_ND = model.pairs.factors
    of_numbers = [numbers(given)[:, n : n + 1] * factors_ND[n] for n in range(3)]
    pairs = pairs_reference(torch.stack([given.pooled["a"], given.pooled["b"], *of_numbers], dim=1))
    torch.testing.assert_close(model(given), first_order(model.first, given) + pairs.unsqueeze(1))


def test_fm_by_hand() -> None:
    shape = InputShape({"a": 2, "b": 2, "c": 2}, {}, {}, {}, 1, weights=("a",))
    pooled = {
        name: torch.tensor([vector]) for name, vector in {"a": [1.0, 2.0], "b": [3.0, 0.0], "c": [0.0, 5.0]}.items()
    }
    given = ModelInputs(pooled, {}, {}, {}, 1, {"a": torch.tensor([[7.0]])})
    assert build_model("fm", shape, {})(given).tolist() == [[7 + 3 + 10 + 0]]


def test_several_labels_of_fm_start_from_the_same_pairs() -> None:
    shape = InputShape(SHAPE.pooled, {}, {}, {}, 2, weights=("a",))
    own = inputs()
    given = ModelInputs(own.pooled, {}, {}, {}, B, {"a": torch.zeros(B, 2).double()})
    found = model_of("fm", shape)(given)
    pairs = pairs_reference(torch.stack([own.pooled["a"], own.pooled["b"]], dim=1))
    torch.testing.assert_close(found, pairs.unsqueeze(1).expand(B, 2))


def test_wide_and_deep_is_the_sum_of_both() -> None:
    model, given = model_of("wide-deep", deep=[4]), inputs()
    one, _, two = model.deep
    deep = torch.relu(flat(given) @ one.weight.T + one.bias) @ two.weight.T + two.bias
    torch.testing.assert_close(model(given), first_order(model.wide, given) + deep)
    assert model.wide.linear is None  # numbers enter the deep part only


def test_deepfm_is_fm_and_an_mlp() -> None:
    model, given = model_of("deepfm", deep=[4]), inputs()
    fm = model_of("fm")
    fm.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("deep")})
    torch.testing.assert_close(model(given), fm(given) + model.deep(flat(given)))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_dcn_crosses_entry_by_entry(rank: int | None, structure: str) -> None:
    model, given = model_of("dcn", rank=rank, structure=structure, cross=2, deep=[4]), inputs()
    first = flat(given)
    expected = first.clone()
    for layer in model.cross:
        weight = layer.up.weight if rank is None else layer.up.weight @ layer.down.weight
        new = torch.empty_like(expected)
        for b in range(B):
            for i in range(expected.shape[1]):
                inner = sum(weight[i, j] * expected[b, j] for j in range(expected.shape[1])) + layer.up.bias[i]
                new[b, i] = first[b, i] * inner + expected[b, i]
        expected = new
    if structure == "stacked":
        expected = model.head(expected)
    else:
        (tower,) = model.head.towers.of_label
        expected = tower(torch.cat([expected, model.head.bottom(first)], dim=1))
    torch.testing.assert_close(model(given), expected)


def test_dlrm_takes_every_pair_and_a_vector_feature_has_its_own_vector() -> None:
    model, given = model_of("dlrm", bottom=[3], top=[4], vector_mlp=[5]), inputs()
    bottom = model.bottom(given.dense["x"])
    wide = model.wide_mlps["of_v"](given.dense["v"])
    assert [tuple(layer.weight.shape) for layer in model.wide_mlps["of_v"] if hasattr(layer, "weight")] == [
        (5, 2),
        (2, 5),
    ]
    vectors = [bottom, given.pooled["a"], given.pooled["b"], wide]
    pairs = [(vectors[i] * vectors[j]).sum(1) for i in range(4) for j in range(i)]
    torch.testing.assert_close(model(given), model.top(torch.cat([bottom, torch.stack(pairs, dim=1)], dim=1)))


def test_dlrm_without_vector_mlps_puts_their_entries_among_the_numbers() -> None:
    model, given = model_of("dlrm", bottom=[3], top=[4], vector_mlp=None), inputs()
    bottom = model.bottom(numbers(given))
    vectors = [bottom, given.pooled["a"], given.pooled["b"]]
    pairs = [(vectors[i] * vectors[j]).sum(1) for i in range(3) for j in range(i)]
    torch.testing.assert_close(model(given), model.top(torch.cat([bottom, torch.stack(pairs, dim=1)], dim=1)))


def history(rows: Tensor, start: list[int], length: list[int]) -> FoldedSequence:
    index = FoldIndex(torch.tensor([0, 1, 1]), 2)
    return FoldedSequence(rows, torch.tensor(start), torch.tensor(length), index)


def test_din_sums_the_rows_of_each_sample_by_the_activation_unit() -> None:
    shape = InputShape({"item": 2}, {"seen": {"clicked": 2}}, {"x": 1}, {}, 1, targets={"seen": ("item",)})
    model, own = model_of("din", shape, attention=[3, 2], deep=[4]), inputs()
    rows = torch.randn(4, 2).double()
    sequence = history(rows, [0, 1], [2, 3])
    item = own.pooled["a"]
    given = ModelInputs({"item": item}, {"seen": {"clicked": sequence}}, {"x": own.dense["x"]}, {}, B)
    unit = model.attention["of_seen"].unit
    attended = []
    for b, (start, length) in enumerate([(0, 2), (1, 3), (1, 3)]):
        own_rows = rows[start : start + length]
        attended.append(sum(activation_reference(unit, item[b], row) * row for row in own_rows))
    expected = model.deep(torch.cat([item, own.dense["x"], torch.stack(attended)], dim=1))
    torch.testing.assert_close(model(given), expected, rtol=1e-12, atol=1e-12)


def test_an_activation_unit_by_hand() -> None:
    unit = ActivationUnit(1, (1,), "relu").double()
    with torch.no_grad():
        unit.first.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
        unit.first.bias.fill_(0.5)
        unit.rest[1][0].weight.fill_(2.0)
        unit.rest[1][0].bias.fill_(1.0)
    keys = FoldedSequence(torch.tensor([[3.0]]).double(), torch.tensor([0]), torch.tensor([1]), FoldIndex.identity(1))
    weight = unit(torch.tensor([[5.0]]).double(), keys)
    assert weight.tolist() == [[2 * (5 + 30 + 100 * (5 - 3) + 1000 * 15 + 0.5) + 1]]


def test_din_without_elements_adds_nothing() -> None:
    shape = InputShape({"item": 2}, {"seen": {"clicked": 2}}, {}, {}, 1, targets={"seen": ("item",)})
    model = model_of("din", shape, attention=[3], deep=[4])
    item = inputs().pooled["a"]
    for start, length in (([0, 0], [0, 0]), ([0, 0], [0, 1])):
        sequence = history(torch.randn(2, 2).double(), start, length)
        given = ModelInputs({"item": item}, {"seen": {"clicked": sequence}}, {}, {}, B)
        alone = model.deep(torch.cat([item, torch.zeros(B, 2).double()], dim=1))
        torch.testing.assert_close(model(given)[0], alone[0])


def test_mmoe_mixes_experts_label_by_label() -> None:
    shape = InputShape({"a": 2, "b": 2}, {}, {"x": 1, "v": 2}, {}, 2, weights=())
    model, given = model_of("dcn", shape, structure="stacked", head="mmoe", experts=3, towers=[3], deep=[4]), inputs()
    x = flat(given)
    for layer in model.cross:
        x = layer(flat(given), x)
    experts = [expert(x) for expert in model.head.experts]
    for label, tower in enumerate(model.head.towers.of_label):
        scores = x @ model.head.gates.weight[3 * label : 3 * label + 3].T
        gate = scores.exp() / scores.exp().sum(1, keepdim=True)
        mixed = sum(gate[:, e : e + 1] * experts[e] for e in range(3))
        torch.testing.assert_close(model(given)[:, label : label + 1], tower(mixed))


def test_a_shared_bottom_with_towers_is_one_tower_and_then_many() -> None:
    shape = InputShape({"a": 2, "b": 2}, {}, {"x": 1, "v": 2}, {}, 2, weights=("a", "b"))
    own = inputs()
    given = ModelInputs(own.pooled, {}, own.dense, {}, B, {name: torch.zeros(B, 2).double() for name in "ab"})
    model = model_of("wide-deep", shape, towers=[3], deep=[4])
    shared = model.deep.bottom(flat(given))
    towers = [tower(shared) for tower in model.deep.towers.of_label]
    torch.testing.assert_close(model(given), model.wide(given) + torch.cat(towers, dim=1))
