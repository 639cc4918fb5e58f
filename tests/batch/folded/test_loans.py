"""Views and copies: what is written to one tensor is seen in the other as with ordinary tensors, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recfold.batch import Folded, FoldIndex, LazyConcat, plain
from recfold.spec import InputError

INDEX = FoldIndex(torch.tensor([0, 0, 1, 0, 1, 1]), 2)

COPIED: dict[str, Callable[[Any], Any]] = {
    "samples": lambda x: x[:2],
    "one sample": lambda x: x[0],
    "flat": lambda x: x.flatten(),
    "view": lambda x: x.view(-1),
    "unbound": lambda x: x.unbind(0)[0],
    "a view of a view": lambda x: x[1:][:2],
    "diagonal": lambda x: x.diagonal(),
}
TRUE: dict[str, Callable[[Any], Any]] = {
    "columns": lambda x: x[:, 1:],
    "turned": lambda x: x.t(),
    "more axes": lambda x: x.unsqueeze(1),
    "detached": lambda x: x.detach(),
    "same dtype": lambda x: x.float(),
}


def folded() -> Folded:
    return Folded(torch.arange(8.0).reshape(2, 4).clone(), INDEX)


def joined() -> LazyConcat:
    out = torch.cat([folded(), torch.ones(6, 2)], 1)
    assert isinstance(out, LazyConcat)
    return out


@pytest.mark.parametrize("name", TRUE)
def test_true_views_see_changes_either_way(name: str) -> None:
    x, plain = folded(), folded().unfold()
    for own in (x, plain):
        TRUE[name](own).add_(1.0)
        own.mul_(2.0)
    assert torch.equal(x.unfold(), plain)
    assert torch.equal(TRUE[name](x).unfold(), TRUE[name](plain))


@pytest.mark.parametrize("make", [folded, joined])
@pytest.mark.parametrize("name", COPIED)
def test_a_copy_in_a_views_stead_may_not_be_written_to(name: str, make: Callable[[], Any]) -> None:
    x = make()
    taken = COPIED[name](x)
    taken.add_(1.0)
    with pytest.raises(InputError, match="taken out of a folded one was changed in place"):
        x + 1.0


@pytest.mark.parametrize("make", [folded, joined])
@pytest.mark.parametrize("name", COPIED)
def test_what_was_copied_in_a_views_stead_may_not_be_written_to(name: str, make: Callable[[], Any]) -> None:
    x = make()
    taken = COPIED[name](x)
    with pytest.raises(InputError):
        x.add_(1.0)
    assert torch.equal(taken, COPIED[name](make().unfold()))


def test_a_copy_that_is_gone_hinders_nothing() -> None:
    x = folded()
    assert x[0].sum() == 6.0
    x.add_(1.0)
    assert x.values[0, 0] == 1.0


def test_other_views_of_the_same_rows_know_of_the_copy() -> None:
    x = folded()
    turned = x.t()
    taken = x[:2]
    with pytest.raises(InputError, match="while what was taken out of it is in use"):
        turned.add_(1.0)
    taken.add_(1.0)
    with pytest.raises(InputError, match="taken out of a folded one was changed in place"):
        turned + 1.0


@pytest.mark.parametrize(
    "view", [lambda c: c[:, :2], lambda c: c[:, 4], lambda c: c.t(), lambda c: c.detach(), lambda c: c.unsqueeze(1)]
)
def test_views_of_a_concatenation_are_for_reading(view: Callable[[Any], Any]) -> None:
    """Nor does writing to one reach the tensors that were joined: joining copies them."""
    user, item = folded(), torch.ones(6, 2)
    whole = torch.cat([user, item], 1)
    part = view(whole)

    def write_and_read() -> None:
        part.add_(1.0)
        whole + 1.0

    with pytest.raises(InputError):
        write_and_read()
    assert torch.equal(item, torch.ones(6, 2))
    assert torch.equal(user.unfold(), folded().unfold())


def test_a_concatenation_whose_parts_change_cannot_be_read() -> None:
    user = folded()
    whole = torch.cat([user, torch.ones(6, 2)], 1)
    user.add_(1.0)
    with pytest.raises(InputError, match="changed in place after it was concatenated"):
        whole.sum()


def test_a_concatenation_changed_in_place_leaves_its_parts() -> None:
    user, item = folded(), torch.ones(6, 2)
    whole = torch.cat([user, item], 1)
    torch.nn.functional.leaky_relu(whole, 0.1, True)
    whole.mul_(2.0)
    assert torch.equal(whole.unfold(), torch.cat([folded().unfold(), item], 1) * 2.0)
    assert torch.equal(item, torch.ones(6, 2))


def test_a_single_row_is_copied_where_many_would_be() -> None:
    """A single row lies in memory as a column does: turning it would copy many rows, but gives a view of one."""
    x = Folded(torch.ones(1, 3), FoldIndex(torch.zeros(4, dtype=torch.int64), 1))
    turned = x.t().contiguous()
    with pytest.raises(InputError):
        x.add_(1.0)
    assert torch.equal(turned.unfold(), torch.ones(3, 4))


def test_writing_per_sample_values_into_shared_rows_is_refused() -> None:
    x, per_sample = folded(), torch.ones(6, 4)
    for write in (lambda: x.add_(per_sample), lambda: x.copy_(per_sample), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(InputError, match="cannot be done in place on a Folded tensor"):
            write()
    assert torch.equal(x.unfold(), folded().unfold())


def test_an_ordinary_tensor_indexed_with_a_folded_one() -> None:
    """Torch takes what has a length for a list of indices, one per axis."""
    table, ids = torch.arange(12.0).reshape(6, 2), Folded(torch.tensor([4, 1]), INDEX)
    plain = ids.unfold()
    assert torch.equal(table[ids], table[plain])
    assert torch.equal(table[ids, 0], table[plain, 0])
    assert torch.equal(table[ids > 2], table[plain > 2])
    table[ids] = -1.0
    assert table[:, 0].tolist() == [0.0, -1.0, 4.0, 6.0, -1.0, 10.0]
    assert len(ids) == 6


@pytest.mark.parametrize("make", [folded, joined])
@pytest.mark.parametrize("name", COPIED)
def test_copies_in_a_views_stead_see_each_other(name: str, make: Callable[[], Any]) -> None:
    """They are views of one copy: ordinary tensors, whose reading nobody can refuse."""
    x, plain = make(), make().unfold()
    found, right = ((own[:3], COPIED[name](own)) for own in (x, plain))
    for one, other in (found, right):
        one.add_(1.0)
        other.mul_(2.0)
    assert torch.equal(found[0], right[0])
    assert torch.equal(found[1], right[1])


def three_parts() -> LazyConcat:
    index = FoldIndex(torch.tensor([0, 0, 1, 1]), 2)
    one, other = (Folded(torch.randn(2, 2, dtype=torch.float64).requires_grad_(), index) for _ in range(2))
    joined = torch.cat([one, torch.randn(4, 2, dtype=torch.float64), other], 1)
    assert isinstance(joined, LazyConcat)
    return joined


@pytest.mark.parametrize(
    "other",
    [
        lambda joined: joined.long(),
        lambda joined: joined.float(),
        lambda joined: joined.detach(),
        lambda joined: joined[:, 1:5],
        lambda joined: joined[:, 0:4],
    ],
)
@pytest.mark.parametrize("own", [lambda joined: joined, lambda joined: joined[:, 2:6]])
def test_what_was_lent_of_one_is_not_taken_for_another(own: Callable[[Any], Any], other: Callable[[Any], Any]) -> None:
    """Both may be views of one tensor in torch, and both are written out while views of the first are in use."""
    joined = three_parts()
    expected = joined.unfold()
    view = plain(other(joined)[None])
    assert torch.equal(view, other(expected)[None])
    again = plain(own(joined)[None])
    assert torch.equal(again, own(expected)[None])
    assert again.requires_grad
