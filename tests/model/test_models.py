"""Every model: right shapes, every parameter trained, and the same answer on distinct rows as on all samples."""

from typing import Any

import pytest
import torch
from torch import Tensor

from recfold.batch import Folded, FoldedSequence, FoldIndex, ModelInputs, plain
from recfold.model import MODELS, InputShape, build_model, model_reads, model_weights
from recfold.model.reads import no_reads
from recfold.spec import InputError, Schema

SHAPE = InputShape(
    pooled={"city": 8, "tags": 8, "brand": 4},
    sequences={"clicks": {"clicked": 8, "action": 4}, "reads": {"keys": 8}},
    dense={"price": 1, "content": 3},
    dense_sequences={"clicks": ("dwell",), "alone": ("prices",)},
    num_labels=2,
    weights=("city", "tags", "brand"),
    targets={"clicks": ("city",), "reads": ("brand",)},
)
SMALL: dict[str, dict[str, Any]] = {
    "lr": {},
    "fm": {},
    "wide-deep": {"deep": [16]},
    "deepfm": {"deep": [16]},
    "dcn": {"deep": [16]},
    "dlrm": {"bottom": [16], "top": [16], "vector_mlp": [8]},
    "din": {"deep": [16], "attention": [8, 4]},
    "sequence": {"bottom": [16], "top": [16], "vector_mlp": [8]},
}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("dcn", {"rank": 3}),
    ("dcn", {"structure": "stacked"}),
    ("dcn", {"structure": "stacked", "head": "mmoe"}),
    ("dlrm", {"vector_mlp": None}),
    ("dlrm", {"dim": 6}),
    ("fm", {"dim": 6}),
    ("din", {"query": ["city", "tags"], "activation": "relu"}),
    *((name, {"head": "mmoe", "experts": 3}) for name in SMALL if name not in ("lr", "fm")),
    *((name, {"head": "mmoe", "towers": [4]}) for name in ("dlrm", "dcn")),
    *((name, {"towers": [4]}) for name in SMALL if name not in ("lr", "fm")),
]
CASES = [*((name, {}) for name in MODELS), *MORE]
READS_HISTORIES = ("din", "sequence")
GROUPS = {"city": "user", "tags": "user", "brand": "item", "price": "item", "content": "user"}
INVERSES = {
    "random": lambda num_samples: torch.tensor([0, 0, 1, 3, 3, 2, 2, 2][:num_samples]),
    "one row": lambda num_samples: torch.zeros(num_samples, dtype=torch.int64),
    "all rows": torch.arange,
    "rows without samples": lambda num_samples: torch.tensor([0, 0, 3, 3, 3, 5, 5, 5][:num_samples]),
}


def inputs_of(inverse: Tensor, dtype: torch.dtype = torch.float64, seed: int = 0) -> ModelInputs:
    """Inputs of SHAPE over an index that all groups but the item's share; history 0 is empty."""
    generator = torch.Generator().manual_seed(seed)
    num_samples, num_distinct = len(inverse), int(inverse.max()) + 1

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    user = FoldIndex(inverse, num_distinct)
    index = {"user": user, "item": FoldIndex(inverse.flip(0), num_distinct)}
    length = torch.arange(num_distinct) % 4
    start = torch.arange(num_distinct) % 2  # windows overlap
    num_rows = 5

    def sequence(width: int) -> FoldedSequence:
        return FoldedSequence(random(num_rows, width), start, length, user)

    def folded(name: str, width: int) -> Folded:
        return Folded(random(num_distinct, width), index[GROUPS[name]])

    return ModelInputs(
        {name: folded(name, dim) for name, dim in SHAPE.pooled.items()},
        {group: {name: sequence(dim) for name, dim in dims.items()} for group, dims in SHAPE.sequences.items()},
        {name: folded(name, width) for name, width in SHAPE.dense.items()},
        {group: {name: sequence(1) for name in names} for group, names in SHAPE.dense_sequences.items()},
        num_samples,
        {name: folded(name, SHAPE.num_labels) for name in SHAPE.weights},
    )


def leaves(inputs: ModelInputs) -> dict[str, Tensor]:
    found = {name: part.values for name, part in {**inputs.pooled, **inputs.dense}.items()}
    found |= {f"weight of {name}": part.values for name, part in inputs.weights.items()}
    for group in (*inputs.sequences.values(), *inputs.dense_sequences.values()):
        found |= {name: part.rows for name, part in group.items()}
    return found


def model_of(name: str, **options: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    model = build_model(name, SHAPE, {**SMALL[name], **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # none is at zero
    return model


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("inverse", INVERSES)
def test_folded_equals_plain(name: str, options: dict[str, Any], inverse: str) -> None:
    results = []
    for unfolded in (False, True):
        model, inputs = model_of(name, **options), inputs_of(INVERSES[inverse](8))
        logits_BL = plain(model(inputs.unfold() if unfolded else inputs))
        (logits_BL * torch.arange(16.0, dtype=torch.float64).view(8, 2)).sum().backward()
        gradients = {key: leaf.grad for key, leaf in leaves(inputs).items() if leaf.grad is not None}
        gradients |= {key: parameter.grad for key, parameter in model.named_parameters()}
        results.append((logits_BL, gradients))
    (found, found_gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found_gradients.keys() == expected_gradients.keys()
    for key, gradient in expected_gradients.items():
        largest = float(gradient.abs().max()) + 1e-300
        assert float((found_gradients[key] - gradient).abs().max()) <= 1e-12 * largest, key


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_parameter_is_trained_and_every_input_counts(name: str, options: dict[str, Any]) -> None:
    model, inputs = model_of(name, **options), inputs_of(INVERSES["random"](8))
    plain(model(inputs)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    # others read histories as pooled features
    unread = set() if name in READS_HISTORIES else {"clicked", "action", "keys"}
    unread |= set(SHAPE.pooled) if name == "lr" else set()
    unread |= set() if MODELS[name].weights is not no_reads else {f"weight of {feature}" for feature in SHAPE.weights}
    for key, leaf in leaves(inputs).items():
        assert (leaf.grad is None) == (key in unread), key


@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees_too(name: str) -> None:
    losses = []
    for unfolded in (False, True):
        model, inputs = model_of(name).float(), inputs_of(INVERSES["random"](8), torch.float32)
        losses.append(plain(model(inputs.unfold() if unfolded else inputs)).square().mean())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    first, second = model_of(name), model_of(name)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_no_samples_give_no_logits(name: str) -> None:
    inputs = inputs_of(torch.zeros(1, dtype=torch.int64))
    nothing = FoldIndex(torch.empty(0, dtype=torch.int64), 0)

    def cut(part: FoldedSequence) -> FoldedSequence:
        return FoldedSequence(part.rows, part.start[:0], part.length[:0], nothing)

    empty = ModelInputs(
        {key: Folded(part.values[:0], nothing) for key, part in inputs.pooled.items()},
        {group: {key: cut(part) for key, part in parts.items()} for group, parts in inputs.sequences.items()},
        {key: Folded(part.values[:0], nothing) for key, part in inputs.dense.items()},
        {group: {key: cut(part) for key, part in parts.items()} for group, parts in inputs.dense_sequences.items()},
        0,
        {key: Folded(part.values[:0], nothing) for key, part in inputs.weights.items()},
    )
    assert model_of(name)(empty).shape == (0, 2)


def test_dropout_and_activation_change_the_result() -> None:
    inputs = inputs_of(INVERSES["random"](8))
    first = plain(model_of("dlrm")(inputs))
    assert not torch.equal(plain(model_of("dlrm", dropout=0.5)(inputs)), first)
    assert not torch.equal(plain(model_of("dlrm", activation="gelu")(inputs)), first)


def test_options_of_the_encoder_change_the_result() -> None:
    inputs = inputs_of(INVERSES["random"](8))
    first = plain(model_of("sequence")(inputs))
    for options in ({"heads": 2}, {"layers": 2}, {"feedforward": 8}, {"positions": 9}, {"encoder_dropout": 0.5}):
        assert not torch.equal(plain(model_of("sequence", **options)(inputs)), first), options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "dlmr",
            {},
            "unknown model 'dlmr'; expected one of dcn, deepfm, .*, wide-deep; did you mean 'dlrm'",
        ),
        ("dlrm", {"botom": [3]}, "unknown key 'botom'.*did you mean 'bottom'"),
        ("dlrm", {"activation": "rulu"}, "unknown activation 'rulu'.*did you mean 'relu'"),
        ("sequence", {"heads": 3}, "3 attention heads do not divide the dim 8"),
        ("lr", {"dim": 3}, "unknown key 'dim'"),
        ("din", {"query": ["cty"]}, "unknown target 'cty'; expected one of brand, city, tags; did you mean 'city'"),
        ("din", {"activation": "rulu"}, "unknown activation 'rulu'"),
        ("deepfm", {"head": "mmoe", "deep": []}, "the experts of mmoe have no hidden layer"),
        ("dcn", {"structure": "staked"}, "structure: Input should be 'parallel' or 'stacked'"),
    ],
)
def test_wrong_choices_are_one_clear_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(name, SHAPE, options)


def test_a_model_needs_what_it_is_made_of() -> None:
    for name in ("fm", "wide-deep", "deepfm", "dcn", "dlrm"):
        with pytest.raises(InputError, match="no id feature"):
            build_model(name, InputShape({}, {}, {"x": 1}, {}, 1), {})
    with pytest.raises(InputError, match="model 'lr' has no feature to read"):
        build_model("lr", InputShape({}, {}, {}, {}, 1), {})
    with pytest.raises(InputError, match="needs a feature of kind sequence; use --model dlrm"):
        build_model("din", InputShape({"x": 4}, {}, {}, {}, 1), {})
    with pytest.raises(InputError, match=r"compare the histories of group 'g' with.*options\.query.* of x"):
        build_model("din", InputShape({"x": 4}, {"g": {"y": 4}}, {}, {}, 1), {})
    with pytest.raises(InputError, match="needs a feature of kind sequence; use --model dlrm"):
        build_model("sequence", InputShape({"x": 4}, {}, {}, {}, 1), {})


def test_without_dense_features_one_table_is_enough() -> None:
    model = build_model("dlrm", InputShape({"x": 4}, {}, {}, {}, 1), {"top": [8]})
    index = FoldIndex(torch.tensor([0, 0, 1]), 2)
    assert model(ModelInputs({"x": Folded(torch.randn(2, 4), index)}, {}, {}, {}, 3)).shape == (3, 1)


def test_histories_of_one_group_have_one_length() -> None:
    inputs = inputs_of(INVERSES["random"](8))
    clicked = inputs.sequences["clicks"]["clicked"]
    longer = FoldedSequence(clicked.rows, clicked.start, clicked.length + 1, clicked.index)
    wrong = {**inputs.sequences, "clicks": {**inputs.sequences["clicks"], "clicked": longer}}
    with pytest.raises(InputError, match="'clicked' and 'action' of one group have different lengths"):
        model_of("sequence")(ModelInputs(inputs.pooled, wrong, inputs.dense, inputs.dense_sequences, 8))


def test_too_few_positions_are_said() -> None:
    with pytest.raises(InputError, match="a history has 3 elements, but there are 2 positions"):
        model_of("sequence", positions=2)(inputs_of(INVERSES["random"](8)))


def test_how_features_are_read() -> None:
    schema = Schema.parse(
        {
            "keys": {"request": "r", "user": "u", "time": "t"},
            "labels": {"click": {"column": "y"}},
            "features": {
                "item": {"kind": "id"},
                "tags": {"kind": "ids", "table": "words"},
                "history": {"kind": "sequence", "table": "item"},
                "price": {"kind": "dense"},
            },
            "tables": {"words": {"pooling": "mean"}},
        },
        "test",
    )
    assert model_reads("dlrm", schema) == [("item", "sum"), ("tags", "mean"), ("history", "mean")]
    assert model_reads("sequence", schema) == [("item", "sum"), ("tags", "mean"), ("history", "rows")]
    assert model_reads("lr", schema) == model_weights("dlrm", schema) == []
    assert model_weights("fm", schema) == model_reads("dlrm", schema)
