"""Products of pairs: each fast form against the obvious one."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from recfold.batch import Folded, FoldIndex, plain
from recfold.batch.folded import pair_products
from recfold.batch.folded.pair_products import FoldedProducts, Products, folded_products_reference
from recfold.batch.ragged_products import serves
from recfold.batch.row_buckets import row_buckets
from recfold.model.interaction import dot_interaction

inverses = st.integers(1, 7).flatmap(
    lambda rows: st.lists(st.integers(0, rows - 1), min_size=1, max_size=20).map(lambda used: (used, rows))
)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.fixture(params=["in one operation", "in buckets"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of multiplying rows with their samples; elsewhere than with MKL there is one."""
    if request.param == "in buckets":
        monkeypatch.setattr(pair_products, "serves", lambda *tensors: False)
    elif not serves(torch.ones(1)):
        pytest.skip("torch has no MKL here")


@given(inverses, st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folded_products_equal_the_reference(way: None, used: tuple[list[int], int], some: bool) -> None:
    index = FoldIndex(torch.tensor(used[0]), used[1])
    vectors, others = drawn(used[1], 3, 4, seed=0), drawn(len(used[0]), 2, 4, seed=1)
    wanted = torch.tensor([5, 0, 3]) if some else None
    found = FoldedProducts.apply(vectors, others, index, wanted)
    expected = folded_products_reference(vectors, others, index)
    expected = expected if wanted is None else expected[:, wanted]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    grad = drawn(*expected.shape, seed=2).detach()
    ours = torch.autograd.grad(found, (vectors, others), grad)
    theirs = torch.autograd.grad(expected, (vectors, others), grad)
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_operands_that_are_views(way: None) -> None:
    index = FoldIndex(torch.tensor([0, 0, 2]), 3)
    vectors, others = drawn(3, 4, 3, seed=0).transpose(1, 2), drawn(1, 2, 4, seed=1).expand(3, 2, 4)
    found = FoldedProducts.apply(vectors, others, index, None)
    expected = folded_products_reference(vectors, others, index)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    grad = drawn(6, 3, seed=2).detach().t()
    for own, other in zip(
        torch.autograd.grad(found, (vectors, others), grad),
        torch.autograd.grad(expected, (vectors, others), grad),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inside", [True, False])
def test_gradients_of_gradients(way: None, inside: bool) -> None:
    left, right = drawn(3, 2, 2, seed=0), drawn(3, 3, 2, seed=1)
    if inside:
        wanted = torch.tensor([1, 3])
        assert torch.autograd.gradgradcheck(lambda own: Products.apply(own, None, wanted), (left,))
        return
    assert torch.autograd.gradgradcheck(lambda a, b: Products.apply(a, b, None), (left, right))
    index = FoldIndex(torch.tensor([0, 2, 2]), 3)
    assert torch.autograd.gradgradcheck(lambda a, b: FoldedProducts.apply(a, b, index, None), (left, right))


@given(inverses)
def test_buckets_hold_every_sample_once_next_to_those_of_its_row(used: tuple[list[int], int]) -> None:
    index = FoldIndex(torch.tensor(used[0]), used[1])
    buckets = row_buckets(index)
    at = 0
    rows = iter(buckets.rows.tolist())
    for count, number in buckets.sizes:
        for _ in range(number):
            row = next(rows)
            samples = buckets.samples[at : at + count].tolist()
            assert samples == [sample for sample, own in enumerate(used[0]) if own == row]
            at += count
    assert at == len(used[0])
    assert buckets.samples[buckets.places].tolist() == list(range(at))
    assert [count for count, _ in buckets.sizes] == sorted({used[0].count(row) for row in used[0]})


def test_pairs_under_autocast_are_as_exact_as_on_ordinary_tensors() -> None:
    index = FoldIndex(torch.arange(32) // 8, 4)
    vectors, others = (drawn(rows, 3, 16, seed=seed).detach().float() for rows, seed in ((4, 0), (32, 1)))

    def run(folded: bool, autocast: bool) -> list[Tensor]:
        leaves = [vectors.clone().requires_grad_(), others.clone().requires_grad_()]
        own = Folded(leaves[0], index) if folded else index.unfold(leaves[0])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = plain(dot_interaction(torch.cat([leaves[1], own], 1)))
        out.float().square().sum().backward()
        return [out.detach().float(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    exact = run(False, False)
    for ours, theirs, expected in zip(run(True, True), run(False, True), exact, strict=True):
        error, ordinary = ((found - expected).abs().max() / expected.abs().max() for found in (ours, theirs))
        assert 0 < error < 3 * ordinary
