"""Padded sequences whose positions repeat: what works by position runs once for each, with the same result."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recfold.batch import FoldedSequence, FoldIndex, Windows, plain

WIDTH = 32
NUM_ROWS = 12


def sequence(rows: Tensor) -> FoldedSequence:
    """Six windows over twelve positions, one of them empty, for eight samples."""
    start = torch.tensor([0, 1, 2, 3, 4, 0])
    length = torch.tensor([8, 8, 8, 8, 8, 0])
    return FoldedSequence(rows, start, length, FoldIndex(torch.tensor([0, 0, 1, 2, 3, 4, 5, 5]), 6))


def rows() -> Tensor:
    return torch.randn(
        NUM_ROWS, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()


def encoder(norm_first: bool) -> nn.Module:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 16, 0.0, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double()


def run(module: Callable[[Tensor, Tensor], Tensor], unfolded: bool) -> tuple[Tensor, Tensor]:
    leaf = rows()
    padded, real = sequence(leaf).padded()
    assert isinstance(padded, Windows)
    if unfolded:
        padded, real = padded.unfold(), real.unfold()
    out = plain(module(padded, real))
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    (out * grad).sum().backward()
    assert leaf.grad is not None
    return out.detach(), leaf.grad


def same(module: Callable[[Tensor, Tensor], Tensor]) -> None:
    for ours, expected in zip(run(module, False), run(module, True), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_the_padded_rectangle_is_that_of_every_sample() -> None:
    padded, real = sequence(rows()).padded()
    assert padded.shape == (8, 8, WIDTH)
    expected, mask = sequence(rows()).unfold().padded_distinct(8)
    assert torch.equal(padded.unfold(), expected)
    assert torch.equal(real.unfold(), mask)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_transformer(norm_first: bool, masked: bool) -> None:
    module = encoder(norm_first)

    def forward(padded: Tensor, real: Tensor) -> Tensor:
        seen = real.clone()
        seen[:, 0] = True
        return module(padded, src_key_padding_mask=~seen if masked else None)

    same(forward)


def test_a_transformer_with_an_attention_mask() -> None:
    module = encoder(False)
    causal = torch.ones(8, 8, dtype=torch.bool).triu(1)
    same(lambda padded, real: module(padded, mask=causal))


@pytest.mark.parametrize(
    "step",
    [
        lambda x, real: torch.relu(x * 2.0 + torch.arange(WIDTH)),
        lambda x, real: x + x.exp(),
        lambda x, real: x + torch.arange(8.0).view(1, 8, 1),
        lambda x, real: (x.transpose(0, 1) * 3.0).transpose(0, 1),
        lambda x, real: x.masked_fill(~real.unsqueeze(-1), -1.0),
        lambda x, real: (x * real.unsqueeze(2)).sum(1) / real.sum(1, keepdim=True).clamp(min=1),
        lambda x, real: torch.cat([x, x * 2], dim=2),
        lambda x, real: x[:, -1],
        lambda x, real: x.reshape(8, -1),
        lambda x, real: torch.stack([x, x], dim=1).sum(1),
        lambda x, real: torch.softmax(x, dim=1),
    ],
)
def test_other_operations(step: Callable[[Tensor, Tensor], Tensor]) -> None:
    same(step)


def test_layers_by_position_run_on_merged_positions() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.LayerNorm(16), nn.Dropout(0.5)).double().eval()
    padded, _ = sequence(rows()).padded()
    out = first(padded)
    assert isinstance(out, Windows)
    assert out.rows.shape == (NUM_ROWS + 1, 16)
    same(lambda x, real: first(x))


def test_attention_projects_merged_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    linear = torch.nn.functional.linear

    def watched(given: Tensor, *args: Tensor | None) -> Tensor:
        seen.append(given.shape[:-1].numel())
        return linear(given, *args)

    monkeypatch.setattr("recfold.batch.folded.windows.linear", watched)
    attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True).double()
    padded, _ = sequence(rows()).padded()
    attention(padded, padded, padded, need_weights=False)
    assert seen == [NUM_ROWS + 1, 6 * 8]  # what comes after attention belongs to a sequence
    same(lambda x, real: attention(x, x, x, need_weights=False)[0])
    same(lambda x, real: attention(x, x, x)[0])


def test_attention_under_autocast_is_as_exact_as_on_ordinary_tensors() -> None:
    module = encoder(False).float()
    leaf = rows().detach().float()

    def forward(unfolded: bool, autocast: bool) -> Tensor:
        padded, real = sequence(leaf).padded()
        if unfolded:
            padded, real = padded.unfold(), real.unfold()
        seen = real.clone()
        seen[:, 0] = True
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return plain(module(padded, src_key_padding_mask=~seen)).float()

    exact = forward(True, False)
    error, ordinary = ((forward(unfolded, True) - exact).abs().max() for unfolded in (False, True))
    assert 0 < error < 3 * ordinary
