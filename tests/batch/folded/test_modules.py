"""Modules that nobody here wrote, unmodified: as on ordinary tensors, and on distinct rows."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recfold.batch import Folded, FoldIndex, TensorLike
from recfold.batch.folded.watch import watching

INVERSE = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 2, 0])
SAMPLES, ROWS, LENGTH, WIDTH = len(INVERSE), 4, 5, 8
INDEX = FoldIndex(INVERSE, ROWS)
PADDING = torch.arange(LENGTH) >= torch.tensor([5, 1, 3, 3]).unsqueeze(1)

Pair = tuple[Any, Any, list[tuple[Tensor, Tensor]]]
"""What the folded and the plain run get, and the leaves of both."""


def rows(*shape: int) -> Pair:
    values = torch.randn(ROWS, *shape, dtype=torch.float64, requires_grad=True)
    twin = values.detach().clone().requires_grad_()
    return Folded(values * 1.0, INDEX), (twin * 1.0)[INVERSE], [(values, twin)]


def samples(*shape: int) -> Pair:
    values = torch.randn(SAMPLES, *shape, dtype=torch.float64, requires_grad=True)
    twin = values.detach().clone().requires_grad_()
    return values * 1.0, twin * 1.0, [(values, twin)]


def constant(values: Tensor) -> Pair:
    return Folded(values, INDEX), values[INVERSE], []


def turned(pair: Pair) -> Pair:
    """Sequence first, as modules without batch_first want it."""
    return pair[0].transpose(0, 1), pair[1].transpose(0, 1), pair[2]


def tensors(given: Any) -> list[Any]:
    if isinstance(given, (Tensor, TensorLike)):
        return [given]
    return [part for item in given or () for part in tensors(item)] if isinstance(given, (tuple, list)) else []


def same(module: nn.Module, *inputs: Pair, training: bool = True, call: Callable[..., Any] | None = None) -> list[Any]:
    """Outputs and all gradients are equal; gives what came out of the folded run."""
    plain = copy.deepcopy(module.double()).train(training)
    module.train(training).zero_grad()
    run = call or (lambda own, *given: own(*given))
    found, expected = (tensors(run(m, *(p[side] for p in inputs))) for side, m in enumerate((module, plain)))
    assert len(found) == len(expected) > 0
    losses: list[Any] = [0.0, 0.0]
    for own, right in zip(found, expected, strict=True):
        written = own.unfold() if isinstance(own, TensorLike) else own
        torch.testing.assert_close(written, right, rtol=1e-10, atol=1e-11)
        weights = torch.randn_like(right)
        losses = [losses[0] + (own * weights).sum(), losses[1] + (right * weights).sum()]
    for loss in losses:
        loss.backward()
    pairs = [pair for given in inputs for pair in given[2]]
    pairs += list(zip(module.parameters(), plain.parameters(), strict=True))
    for one, other in pairs:
        right = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(torch.zeros_like(one) if one.grad is None else one.grad, right, rtol=1e-9, atol=1e-9)
    for one, other in zip(module.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    return found


def assert_on_rows(found: list[Any]) -> None:
    assert all(isinstance(own, Folded) and own.num_distinct == ROWS for own in found)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_encoder(norm_first: bool, batch_first: bool, training: bool) -> None:
    dropout = 0.0 if training else 0.1
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout, batch_first=batch_first, norm_first=norm_first)
    history = rows(LENGTH, WIDTH) if batch_first else turned(rows(LENGTH, WIDTH))
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    found = same(
        encoder,
        history,
        constant(PADDING),
        training=training,
        call=lambda own, x, padding: own(x, src_key_padding_mask=padding),
    )
    assert_on_rows(found)
    assert found[0].batch_axis == (0 if batch_first else 1)


def test_transformer_encoder_with_a_causal_mask() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    assert_on_rows(same(encoder, rows(LENGTH, WIDTH), call=lambda own, x: own(x, mask=mask, is_causal=True)))


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_multi_head_attention(batch_first: bool, weights: bool) -> None:
    turn: Callable[[Pair], Pair] = (lambda pair: pair) if batch_first else turned

    def call(own: Any, query: Any, key: Any, padding: Any) -> Any:
        return own(query, key, key, key_padding_mask=padding, need_weights=weights)

    def module() -> nn.Module:
        return nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)

    history = turn(rows(LENGTH, WIDTH))
    assert_on_rows(same(module(), history, constant(PADDING), call=lambda own, x, p: call(own, x, x, p)))
    assert_on_rows(same(module(), turn(rows(3, WIDTH)), turn(rows(LENGTH, WIDTH)), constant(PADDING), call=call))
    per_sample = same(module(), turn(samples(1, WIDTH)), turn(rows(LENGTH, WIDTH)), constant(PADDING), call=call)
    assert all(isinstance(own, Tensor) for own in per_sample)


class Watch:
    """Remembers which linear layers ran, and on how many rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def called(self, call: Any, answer: Callable[[], Any]) -> Any:
        out = answer()
        if call.name == "linear":
            self.rows.append(out.num_distinct if isinstance(out, Folded) else SAMPLES)
        return out

    def unfolded(self, reason: str) -> None:
        pass


def test_keys_and_values_are_projected_once_a_row_where_queries_are_of_samples() -> None:
    attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True).double()
    history, query = rows(LENGTH, WIDTH)[0], samples(1, WIDTH)[0]
    watch = Watch()
    with watching(watch):
        attention(query, history, history)
    assert watch.rows == [ROWS, ROWS]


def test_attention_that_drops_draws_for_samples_and_projects_rows() -> None:
    attention = nn.MultiheadAttention(WIDTH, 2, dropout=0.5, batch_first=True).double()
    history = rows(LENGTH, WIDTH)[0]
    watch = Watch()
    with watching(watch):
        out, _ = attention(history, history, history)
    assert watch.rows == [ROWS] * 3
    assert not torch.equal(out[0], out[1])


def test_multi_head_attention_of_other_widths() -> None:
    module = nn.MultiheadAttention(
        WIDTH, 2, kdim=6, vdim=7, batch_first=True, add_bias_kv=True, add_zero_attn=True, dropout=0.0
    )
    assert_on_rows(same(module, rows(3, WIDTH), rows(LENGTH, 6), rows(LENGTH, 7)))


def test_transformer_decoder_layer() -> None:
    def module() -> nn.Module:
        return nn.TransformerDecoderLayer(WIDTH, 2, 16, 0.0, batch_first=True)

    assert_on_rows(same(module(), rows(3, WIDTH), rows(LENGTH, WIDTH)))
    (per_sample,) = same(module(), samples(3, WIDTH), rows(LENGTH, WIDTH))
    assert isinstance(per_sample, Tensor)


ROW_BY_ROW: dict[str, tuple[Callable[[], nn.Module], Callable[[], list[Pair]]]] = {
    "gru": (lambda: nn.GRU(WIDTH, 3, 2, batch_first=True, bidirectional=True), lambda: [rows(LENGTH, WIDTH)]),
    "gru, sequence first": (lambda: nn.GRU(WIDTH, 3), lambda: [turned(rows(LENGTH, WIDTH))]),
    "lstm": (lambda: nn.LSTM(WIDTH, 3, batch_first=True, proj_size=2), lambda: [rows(LENGTH, WIDTH)]),
    "rnn": (lambda: nn.RNN(WIDTH, 3, nonlinearity="relu", batch_first=True), lambda: [rows(LENGTH, WIDTH)]),
    "conv1d": (lambda: nn.Conv1d(WIDTH, 3, 3, padding="same"), lambda: [rows(WIDTH, LENGTH)]),
    "conv1d, circular": (lambda: nn.Conv1d(WIDTH, 3, 3, padding_mode="circular"), lambda: [rows(WIDTH, LENGTH)]),
    "average pooling": (lambda: nn.AvgPool1d(2), lambda: [rows(WIDTH, LENGTH)]),
    "bilinear": (lambda: nn.Bilinear(WIDTH, 3, 4), lambda: [rows(WIDTH), rows(3)]),
    "batch norm": (lambda: nn.BatchNorm1d(WIDTH), lambda: [rows(WIDTH)]),
    "batch norm, positions": (lambda: nn.BatchNorm1d(WIDTH), lambda: [rows(WIDTH, LENGTH)]),
    "batch norm, running mean of all": (lambda: nn.BatchNorm1d(WIDTH, momentum=None), lambda: [rows(WIDTH)]),
    "batch norm, no statistics": (lambda: nn.BatchNorm1d(WIDTH, track_running_stats=False), lambda: [rows(WIDTH)]),
    "layer norm": (lambda: nn.LayerNorm(WIDTH), lambda: [rows(LENGTH, WIDTH)]),
    "rms norm": (lambda: nn.RMSNorm(WIDTH), lambda: [rows(LENGTH, WIDTH)]),
    "group norm": (lambda: nn.GroupNorm(2, WIDTH), lambda: [rows(WIDTH, LENGTH)]),
    "prelu": (lambda: nn.PReLU(WIDTH), lambda: [rows(WIDTH)]),
    "cosine": (lambda: nn.CosineSimilarity(), lambda: [rows(WIDTH), rows(WIDTH)]),
    "flatten": (lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten()), lambda: [rows(WIDTH)]),
    "transformer": (
        lambda: nn.Transformer(WIDTH, 2, 1, 1, 16, 0.0, batch_first=True),
        lambda: [rows(LENGTH, WIDTH), rows(3, WIDTH)],
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ROW_BY_ROW)
def test_modules_that_work_row_by_row(name: str, training: bool) -> None:
    module, inputs = ROW_BY_ROW[name]
    assert_on_rows(same(module(), *inputs(), training=training))


ACTIVATIONS = [
    nn.ReLU(True), nn.LeakyReLU(0.1, True), nn.ELU(1.0, True), nn.SiLU(True), nn.SELU(True), nn.CELU(1.0, True),
    nn.Hardtanh(inplace=True), nn.Threshold(0.1, 0.2, True), nn.Mish(True), nn.ReLU6(True), nn.Hardswish(True),
    nn.GELU(), nn.Tanh(), nn.Softmax(-1), nn.GLU(), nn.LogSoftmax(-1), nn.Softplus(), nn.Dropout(0.0), nn.Softsign(),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_perceptrons(activation: nn.Module) -> None:
    """Those that work in place among them."""
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), activation, nn.LazyBatchNorm1d())
    module(torch.randn(SAMPLES, WIDTH))
    assert_on_rows(same(module, rows(WIDTH)))


def test_embedding_looks_up_distinct_rows() -> None:
    ids = torch.randint(0, 9, (ROWS, LENGTH))
    assert_on_rows(same(nn.Embedding(9, 3, padding_idx=0), constant(ids)))


def test_renormalised_embedding_touches_what_the_plain_one_touches() -> None:
    """Rows that no sample uses are not to be looked up where looking up writes."""
    index = FoldIndex(torch.tensor([0, 0, 2]), 3)
    ids = torch.tensor([0, 1, 2])
    found, right = (nn.Embedding.from_pretrained(torch.full((4, 2), 5.0), max_norm=1.0) for _ in range(2))
    out = found(Folded(ids, index))
    assert torch.equal(out.unfold() if isinstance(out, TensorLike) else out, right(ids[index.inverse]))
    assert torch.equal(found.weight, right.weight)


class Joined(nn.Module):
    """Joins its inputs and gives them to a module, first input apart where there is a stack of the others."""

    def __init__(self, inner: nn.Module, stacks: bool = False) -> None:
        super().__init__()
        self.inner, self.stacks = inner, stacks

    def forward(self, first: Any, *others: Any) -> Any:
        if self.stacks:
            return self.inner(first, torch.stack(others, 1))
        return self.inner(torch.cat([first, *others], 1))


def mixed(width: int = WIDTH) -> list[Pair]:
    return [samples(width), rows(width), rows(width), samples(width)]


def test_dlrm_of_torchrec() -> None:
    dlrm = pytest.importorskip("torchrec.models.dlrm", reason="TorchRec is not installed")
    assert_on_rows(same(dlrm.DenseArch(6, [8, WIDTH]), rows(6)))
    assert_on_rows(same(Joined(dlrm.InteractionArch(3), True), *(rows(WIDTH) for _ in range(4))))
    (pairs,) = same(Joined(dlrm.InteractionArch(3), True), *mixed())
    assert isinstance(pairs, TensorLike)
    assert any(isinstance(part, Folded) and part.num_distinct == ROWS for part in pairs.parts)
    whole = nn.Sequential(Joined(dlrm.InteractionArch(3), True), dlrm.OverArch(WIDTH + 6, [8, 1]))
    for inputs in (mixed(), [rows(WIDTH) for _ in range(4)]):
        same(whole, *inputs, call=lambda own, *given: own[1](own[0](*given)))


@pytest.mark.parametrize("name", ["CrossNet", "LowRankCrossNet", "VectorCrossNet", "LowRankMixtureCrossNet"])
def test_cross_nets_of_torchrec(name: str) -> None:
    crossnet = pytest.importorskip("torchrec.modules.crossnet", reason="TorchRec is not installed")
    assert_on_rows(same(Joined(getattr(crossnet, name)(2 * WIDTH, 2)), rows(WIDTH), rows(WIDTH)))
    same(Joined(getattr(crossnet, name)(4 * WIDTH, 2)), *mixed())


def test_deepfm_of_torchrec() -> None:
    deepfm = pytest.importorskip("torchrec.modules.deepfm", reason="TorchRec is not installed")
    models = pytest.importorskip("torchrec.models.deepfm", reason="TorchRec is not installed")
    keyed = pytest.importorskip("torchrec.sparse.jagged_tensor", reason="TorchRec is not installed").KeyedTensor
    layers = nn.Sequential(nn.Linear(4 * WIDTH, 8), nn.ReLU(), nn.Linear(8, 3))
    for module in (deepfm.FactorizationMachine(), deepfm.DeepFM(layers)):
        assert_on_rows(same(module, *(rows(WIDTH) for _ in range(4)), call=lambda own, *given: own(list(given))))
        same(module, *mixed(), call=lambda own, *given: own(list(given)))

    def interaction(own: Any, dense: Any, one: Any, other: Any) -> Any:
        return own(dense, keyed(["a", "b"], [WIDTH, WIDTH], torch.cat([one, other], 1)))

    def module() -> nn.Module:
        return models.FMInteractionArch(3 * WIDTH, ["a", "b"], 5)

    assert_on_rows(same(module(), rows(WIDTH), rows(WIDTH), rows(WIDTH), call=interaction))
    same(module(), samples(WIDTH), rows(WIDTH), samples(WIDTH), call=interaction)
