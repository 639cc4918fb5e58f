"""Random operations draw for every sample, unless a module asks to share what is drawn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from recfold.batch import Folded, FoldIndex, LazyConcat, share_masks, shared_masks
from recfold.spec import InputError

WIDTH = 400
INDEX = FoldIndex(torch.tensor([0, 0, 1, 1, 1, 0]), 2)
SAME_ROW = [(0, 1), (0, 5), (2, 3), (3, 4)]

DRAWING: dict[str, Callable[[Any], Any]] = {
    "dropout": lambda x: functional.dropout(x, 0.5),
    "dropout1d": lambda x: functional.dropout1d(x.unsqueeze(2), 0.5).squeeze(2),
    "alpha dropout": lambda x: functional.alpha_dropout(x, 0.5, True),
    "feature dropout": lambda x: torch.feature_dropout(x, 0.5, True),
    "rrelu": lambda x: functional.rrelu(-x, 0.1, 0.9, True),
    "gumbel softmax": lambda x: functional.gumbel_softmax(x, 1.0),
    "bernoulli": lambda x: torch.bernoulli(torch.sigmoid(x)),
    "rand_like": torch.rand_like,
    "randn_like": lambda x: torch.randn_like(x),
}


def folded() -> Folded:
    return Folded(torch.rand(2, WIDTH) + 0.5, INDEX)


@pytest.mark.parametrize("name", DRAWING)
def test_samples_that_share_a_row_draw_apart(name: str) -> None:
    torch.manual_seed(0)
    out = DRAWING[name](folded())
    assert isinstance(out, torch.Tensor)
    assert all(not torch.equal(out[a], out[b]) for a, b in SAME_ROW)


@pytest.mark.parametrize("name", DRAWING)
def test_samples_that_share_a_row_share_masks_where_asked(name: str) -> None:
    torch.manual_seed(0)
    with shared_masks():
        out = DRAWING[name](folded())
    assert isinstance(out, Folded)
    written = out.unfold()
    assert all(torch.equal(written[a], written[b]) for a, b in SAME_ROW)
    assert not torch.equal(written[0], written[2])
    assert isinstance(DRAWING[name](folded()), torch.Tensor)


@pytest.mark.parametrize("draw", [torch.randint_like, torch.poisson, torch.normal, torch.multinomial])
def test_other_draws_are_per_sample(draw: Any) -> None:
    torch.manual_seed(0)
    more = {torch.randint_like: (5000,), torch.normal: (1.0,), torch.multinomial: (50, True)}.get(draw, ())
    out = draw(folded(), *more)
    assert isinstance(out, torch.Tensor)
    assert all(not torch.equal(out[a], out[b]) for a, b in SAME_ROW)


def test_dropout_keeps_its_share_and_its_mean() -> None:
    """As often as the plain one, independent from sample to sample: a quarter is kept in both of two samples."""
    torch.manual_seed(0)
    kept = functional.dropout(Folded(torch.ones(2, 20_000), INDEX), 0.5) != 0
    assert 0.48 < kept.float().mean() < 0.52
    assert 0.23 < (kept[0] & kept[1]).float().mean() < 0.27


def test_dropout_of_a_concatenation_draws_per_sample() -> None:
    torch.manual_seed(0)
    joined = torch.cat([folded(), torch.ones(6, 3)], 1)
    assert isinstance(joined, LazyConcat)
    out = functional.dropout(joined, 0.5)
    assert all(not torch.equal(out[a], out[b]) for a, b in SAME_ROW)


def test_attention_dropout_draws_per_sample_and_shares_where_asked() -> None:
    torch.manual_seed(0)
    x = Folded(torch.randn(2, 6, 8), INDEX)
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    apart = attention(x, x, x)[0]
    assert isinstance(apart, torch.Tensor)
    assert all(not torch.equal(apart[a], apart[b]) for a, b in SAME_ROW)
    assert isinstance(share_masks(attention)(x, x, x)[0], Folded)
    assert isinstance(functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5), torch.Tensor)
    gru = nn.GRU(8, 4, 2, batch_first=True, dropout=0.5)
    assert isinstance(gru(x)[0], torch.Tensor)
    assert isinstance(gru.eval()(x)[0], Folded)


def test_share_masks_ends_with_the_module_even_where_it_raises() -> None:
    class Fails(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError

    with pytest.raises(ValueError):
        share_masks(Fails())(folded())
    assert isinstance(functional.dropout(folded(), 0.5), torch.Tensor)


def test_dropout_in_place_is_refused_while_it_draws() -> None:
    """It would have to write samples' masks into shared rows."""
    with pytest.raises(InputError, match="dropout cannot be done in place on a Folded tensor"):
        nn.Dropout(0.5, inplace=True)(folded())
    with pytest.raises(InputError, match="uniform_ cannot change a Folded tensor"):
        folded().uniform_()
    assert isinstance(nn.Dropout(0.5, inplace=True).eval()(folded()), Folded)
