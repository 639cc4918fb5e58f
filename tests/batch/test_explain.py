"""`explain`: rows, floating-point operations against counts by hand, reasons, and that it changes nothing."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recfold.batch import Explanation, Folded, FoldedSequence, FoldIndex, ModelInputs, Operation, explain
from recfold.batch.folded.flops import FlopCount, Flops
from recfold.spec import InputError

B, U, W = 12, 3, 40
INVERSE = torch.tensor([0] * 5 + [1] * 4 + [2] * 3)


class Calls(nn.Module):
    """A model that is one function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class Mlp(nn.Module):
    """An ordinary model of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * W, 8), nn.Linear(8, 1)

    def forward(self, user: Any, item: Any) -> Any:
        return self.second(torch.relu(self.first(torch.cat([user, item], dim=1))))


def folded(width: int = W, index: FoldIndex | None = None) -> Folded:
    index = index or FoldIndex(INVERSE, U)
    return Folded(torch.randn(index.num_distinct, width), index)


def found(explanation: Explanation, name: str) -> Operation:
    (operation,) = (own for own in explanation.operations if own.name == name)
    return operation


def test_a_folded_layer_counts_its_distinct_rows() -> None:
    model = nn.Sequential(nn.Linear(W, 8), nn.ReLU(), nn.Linear(8, 1))
    first, relu, last = explain(model, folded()).operations
    assert first == Operation("0", "linear", 1, U, B, 2 * U * W * 8, 2 * B * W * 8)
    assert relu == Operation("1", "relu", 1, U, B, U * 8, B * 8)
    assert last == Operation("2", "linear", 1, U, B, 2 * U * 8, 2 * B * 8)


def test_a_split_layer_counts_each_part_on_its_own_rows() -> None:
    explanation = explain(Mlp(), folded(), torch.randn(B, W))
    first, relu, last = explanation.operations
    used = 2 * 8 * W * (U + B)
    assert first.flops_used == used  # the products add up as they are made
    assert first.flops_needed == 2 * 8 * 2 * W * B
    assert (first.rows_used, first.rows_needed) == (round(B * used / first.flops_needed), B)
    assert (first.module, first.unfolded) == ("first", ("what came of its parts meets on samples",))
    assert relu.rows_used == last.rows_used == B
    assert relu.flops_used == relu.flops_needed == B * 8
    assert last.flops_used == last.flops_needed == 2 * B * 8
    assert explanation.flops_used == first.flops_used + B * 8 + 2 * B * 8
    assert explanation.rows_needed == 3 * B


def test_pairs_count_where_they_are_multiplied() -> None:
    row, column = torch.tril_indices(4, 4, offset=-1)

    def pairs(user: Any, also: Any, item: Tensor, other: Tensor) -> Any:
        stack = torch.stack([user, also, item, other], dim=1)
        return torch.bmm(stack, stack.transpose(1, 2))[:, row, column]

    index = FoldIndex(INVERSE, U)
    given = folded(W, index), folded(W, index), torch.randn(B, W), torch.randn(B, W)
    explanation = explain(Calls(pairs), *given)
    (bmm,) = explanation.operations
    # products of two vectors with two: the folded ones, the others, and both on samples
    assert bmm.flops_used == 2 * W * 4 * (U + B + B)
    assert bmm.flops_needed == 2 * W * 16 * B
    assert (bmm.name, bmm.unfolded) == ("bmm", ())


def test_positions_that_windows_share_are_counted_once() -> None:
    index = FoldIndex(INVERSE, U)
    sequence = FoldedSequence(torch.randn(6, W), torch.tensor([0, 1, 2]), torch.tensor([4, 4, 4]), index)
    layer = nn.Linear(W, 8, bias=False)
    inputs = ModelInputs({}, {"history": {"clicked": sequence}}, {}, {}, B)

    def model(inputs: ModelInputs) -> Any:
        own = inputs.sequences["history"]["clicked"]
        return own.with_rows(torch.relu(layer(own.rows))).mean()

    explanation = explain(Calls(model), inputs)
    assert found(explanation, "linear") == Operation("", "linear", 1, 6, 4 * B, 2 * 6 * W * 8, 2 * 4 * B * W * 8)
    assert found(explanation, "relu").rows_needed == 4 * B
    (lookup,) = explanation.lookups
    assert (lookup.lists_used, lookup.lists_needed, lookup.ids_used, lookup.ids_needed) == (U, B, 6, 4 * B)
    assert (explanation.ids_used, explanation.ids_needed) == (6, 4 * B)


def test_an_attention_layer_counts_its_products() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    index = FoldIndex(INVERSE, U)
    explanation = explain(layer, Folded(torch.randn(U, 5, 8), index))
    attention = found(explanation, "multi_head_attention_forward")
    assert (attention.rows_used, attention.rows_needed) == (U, B)
    projections, scores = 2 * 5 * 8 * (3 * 8 + 8), 2 * 2 * 5 * 5 * 8
    assert U * (projections + scores) <= attention.flops_used < 1.2 * U * (projections + scores)
    assert attention.flops_needed == pytest.approx(attention.flops_used * B / U, rel=0.01)  # a kernel scales otherwise
    assert all(own.rows_used == U * own.times for own in explanation.operations)


def test_a_recurrent_layer_counts_its_products() -> None:
    layer, products = nn.LSTM(8, 4, batch_first=True), 2 * 5 * 4 * 4 * (8 + 4)
    given = Folded(torch.randn(U, 5, 8), FoldIndex(INVERSE, U))
    folded, plain = found(explain(layer, given), "lstm"), found(explain(layer, given.unfold()), "lstm")
    assert (folded.rows_used, folded.rows_needed) == (U, B)
    for used, rows in ((folded.flops_used, U), (folded.flops_needed, B), (plain.flops_used, B)):
        assert rows * products <= used < 1.2 * rows * products


def test_batch_norm_costs_no_more_on_distinct_rows() -> None:
    operation = found(explain(nn.BatchNorm1d(W), folded()), "batch_norm")
    assert (operation.rows_used, operation.flops_needed) == (U, 9 * B * W)
    assert 9 * U * W <= operation.flops_used < 10 * U * W + 10 * W


REASONS = [
    (lambda x: x + torch.ones(B, 1) * torch.arange(B).unsqueeze(1), "add", "an operand is per sample"),
    (lambda x: x.mean(0), "mean", "it works along the batch axis"),
    (lambda x: x.sort(dim=0).values, "sort", "it works along the batch axis"),
    (lambda x: nn.functional.dropout(x, 0.5), "dropout", "it draws random numbers for every sample"),
    (lambda x: torch.fft.rfft(x).abs(), "fft_rfft", "no rule for it"),
]


@pytest.mark.parametrize(("function", "name", "reason"), REASONS)
def test_what_is_unfolded_says_why(function: Any, name: str, reason: str) -> None:
    operation = next(own for own in explain(Calls(function), folded()).operations if own.name == name)
    assert operation.unfolded == (reason,)
    assert operation.rows_used == operation.rows_needed == B


def test_groups_that_change_at_different_rates_say_how_much() -> None:
    other = FoldIndex(torch.arange(B) % 6, 6)
    operation = found(explain(Calls(lambda x, y: x * y), folded(), folded(W, other)), "mul")
    assert operation.unfolded == ("groups that change at different rates: 12 distinct pairs",)


def test_ordinary_tensors_save_nothing() -> None:
    explanation = explain(Mlp(), Folded(torch.randn(B, W), FoldIndex(torch.arange(B), B)).unfold(), torch.randn(B, W))
    assert explanation.rows_used == explanation.rows_needed == 3 * B
    assert explanation.flops_used == explanation.flops_needed == 2 * B * 2 * W * 8 + B * 8 + 2 * B * 8


def test_what_follows_an_unfolded_operation_is_counted_on_samples() -> None:
    def model(x: Any) -> Any:
        return torch.tanh(x + torch.arange(B).unsqueeze(1))

    add, tanh = explain(Calls(model), folded()).operations
    assert (add.unfolded, tanh.unfolded) == (("an operand is per sample",), ())
    assert (tanh.rows_used, tanh.flops_used) == (B, B * W)


def test_arithmetic_on_weights_alone_is_no_row() -> None:
    weight = nn.Parameter(torch.randn(B, W))  # as many rows as samples
    model = Calls(lambda x: x @ (weight * 2).t())
    model.register_parameter("weight", weight)
    assert [own.name for own in explain(model, folded()).operations] == ["matmul"]


def test_operations_of_one_module_that_follow_each_other_are_one() -> None:
    (relu,) = explain(Calls(lambda x: x.relu().relu().relu()), folded()).operations
    assert (relu.times, relu.rows_used, relu.rows_needed, relu.flops_used) == (3, 3 * U, 3 * B, 3 * U * W)


def test_nothing_is_changed() -> None:
    model = nn.Sequential(nn.BatchNorm1d(W), nn.Dropout(0.5))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    given, state = folded(), torch.get_rng_state()
    explain(model, given)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert not model._forward_hooks
    assert not model[0]._forward_pre_hooks
    assert model.training


def test_a_model_that_fails_leaves_no_hooks() -> None:
    def fails(x: Any) -> Any:
        raise RuntimeError("it fails")

    model = Calls(fails)
    with pytest.raises(RuntimeError, match="it fails"):
        explain(model, folded())
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_nothing_folded_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="no samples can be counted among the model's inputs"):
        explain(nn.Linear(1, 1), "x")


def test_json_has_totals() -> None:
    data = json.loads(json.dumps(explain(Mlp(), folded(), torch.randn(B, W)).as_dict()))
    assert data["num_samples"] == B
    assert data["operations"][0]["module"] == "first"
    assert data["total"]["flops_used"] < data["total"]["flops_needed"]


def test_what_is_counted() -> None:
    cases = [
        (lambda: torch.ones(2, 3) + 1.0, Flops(entries=6)),
        (lambda: torch.ones(4, 2, 3).sum(1), Flops(entries=24)),
        (lambda: torch.ones(2, 3).t().reshape(6).unsqueeze(0), Flops()),
        (lambda: torch.cat([torch.ones(2, 3), torch.ones(2, 1)], 1)[:, [0, 0]], Flops()),
        (lambda: torch.arange(5) * 2, Flops()),
        (lambda: torch.bmm(torch.ones(4, 2, 3), torch.ones(4, 3, 5)), Flops(products=2 * 4 * 2 * 3 * 5)),
        (
            lambda: nn.functional.scaled_dot_product_attention(*[torch.ones(1, 2, 5, 8)] * 3),
            Flops(products=2 * 2 * 2 * 5 * 5 * 8),
        ),
    ]
    for function, expected in cases:
        with FlopCount() as count:
            function()
        assert count.total == expected
