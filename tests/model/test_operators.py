"""A model gives the same of rows that are there and of rows that are added up, as its operators say."""

import pytest
import torch
from torch import Tensor

from recfold.batch import Added, ModelInputs
from recfold.model import InputShape, build_model, operators_of
from recfold.model.fm import pairs_reference
from recfold.spec import InputError

B = 4
MODELS = {
    "lr": {},
    "fm": {},
    "wide-deep": {"deep": [3, 2]},
    "deepfm": {"deep": [3], "towers": [2]},
}


def shape_of(num_labels: int) -> InputShape:
    return InputShape({"a": 2, "b": 2, "c": 2}, {}, {"x": 1}, {}, num_labels, weights=("a", "b", "c"))


def added_up(given: ModelInputs, model: torch.nn.Module, features: tuple[str, ...]) -> ModelInputs:
    """These features' rows replaced by what the operators want of them."""
    operators, added = operators_of(model), []
    for of, rows in (("weights", given.weights), ("vectors", given.pooled)):
        own = [operator for operator in operators if operator.of == of]
        parts: dict[str, Tensor] = {}
        for operator in own:
            vectors = [rows[name] for name in features]
            if operator.total:
                parts["total"] = torch.stack(vectors).sum(0)
            if operator.squares:
                squares = torch.stack(vectors).square().sum(0)
                parts["squares"] = squares.sum(1, keepdim=True) if operator.norm else squares
            if operator.parameter:
                matrix = model.get_parameter(operator.parameter)
                parts["product"] = sum(
                    vector @ matrix[:, slice(*operator.columns[name])].t()
                    for name, vector in zip(features, vectors, strict=True)
                )
        if own:
            added.append(Added(of, features, **parts))
    covered = {(own.of, name) for own in added for name in own.features}
    return ModelInputs(
        {name: rows for name, rows in given.pooled.items() if ("vectors", name) not in covered},
        {},
        given.dense,
        {},
        B,
        {name: rows for name, rows in given.weights.items() if ("weights", name) not in covered},
        added=tuple(added),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_labels", [1, 2])
@pytest.mark.parametrize("features", [("a", "c"), ("a", "b", "c")])
def test_what_is_added_up_gives_the_same(name: str, num_labels: int, features: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    model = build_model(name, shape_of(num_labels), MODELS[name]).double()
    pooled = {feature: torch.randn(B, 2).double() for feature in "abc"}
    weights = {feature: torch.randn(B, num_labels).double() for feature in "abc"}
    given = ModelInputs(pooled, {}, {"x": torch.randn(B, 1).double()}, {}, B, weights)
    other = added_up(given, model, features)
    assert other.added
    torch.testing.assert_close(model(other), model(given), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(other.unfold()), model(given), rtol=1e-12, atol=1e-12)


def test_pairs_of_ids_are_those_of_all_ids_of_all_lists() -> None:
    torch.manual_seed(2)
    model = build_model("fm", InputShape({"a": 2, "b": 2}, {}, {}, {}, 1, weights=("a",)), {"pairs": "ids"}).double()
    lists = {"a": torch.randn(B, 3, 2).double(), "b": torch.randn(B, 2, 2).double()}
    given = ModelInputs(
        {name: ids.sum(1) for name, ids in lists.items()},
        {},
        {},
        {},
        B,
        {"a": torch.zeros(B, 1).double()},
        squares={name: ids.square().sum(1) for name, ids in lists.items()},
    )
    expected = pairs_reference(torch.cat([lists["a"], lists["b"]], dim=1))
    torch.testing.assert_close(model(given), expected.unsqueeze(1) + model.first.bias)


def test_pairs_of_ids_need_one_width() -> None:
    shape = InputShape({"a": 2, "b": 2, "c": 4}, {}, {}, {}, 1, weights=("a",))
    with pytest.raises(InputError, match="pairs of ids need vectors of one width, but those of feature 'c' are of"):
        build_model("fm", shape, {"pairs": "ids"})


def test_models_that_read_vectors_otherwise_have_no_operator_of_them() -> None:
    shape = shape_of(1)
    assert operators_of(build_model("dcn", shape, {})) == ()
    mixed = build_model("deepfm", shape, {"deep": [3], "head": "mmoe"})
    assert {operator.of for operator in operators_of(mixed)} == {"weights"}
