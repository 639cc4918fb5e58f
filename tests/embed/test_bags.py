import pytest
import torch

from recfold.embed.bags import Bags, check_bags, check_together, join
from recfold.spec import InputError, Read

LIKES = Read(feature="likes", table="item", mode="sum")
LAST = Read(feature="last", table="item", mode="rows")
GOOD = Bags(torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3]))


def long(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_one_read_is_joined_without_copies() -> None:
    joined = join([LIKES], {"likes": GOOD}, torch.float32)
    assert joined.values is GOOD.values
    assert joined.offsets is GOOD.offsets
    assert joined.weights is None


def test_reads_are_joined_one_after_the_other_and_ids_of_a_sequence_are_bags_of_one() -> None:
    bags = {"likes": GOOD, "last": Bags(long(1, 2), long(0, 2), torch.tensor([0.5, 2.0]))}
    joined = join([LAST, LIKES], bags, torch.float64)
    assert joined.values.tolist() == [1, 2, 7, 9, 4]
    assert joined.offsets is not None
    assert joined.offsets.tolist() == [0, 1, 2, 4, 5]
    assert joined.weights is not None
    assert joined.weights.tolist() == [0.5, 2.0, 1.0, 1.0, 1.0]
    assert joined.weights.dtype == torch.float64
    assert joined.num_bags == 4
    assert join([LAST], bags, torch.float32).offsets is None


@pytest.mark.parametrize(
    "bags, message",
    [
        (
            Bags(long(7, 10), long(0, 2)),
            "feature 'likes' has an id outside table 'item'; got 10; expected ids in [0, 10);",
        ),
        (Bags(long(-1), long(0, 1)), "feature 'likes' has an id outside table 'item'; got -1;"),
        (
            Bags(long(1, 2), long(0, 1)),
            "wrong offsets of feature 'likes'; got 0 ... 1; expected 0 ... 2 (its number of",
        ),
        (Bags(long(1, 2), long(1, 2)), "wrong offsets of feature 'likes'; got 1 ... 2; expected 0 ... 2"),
        (Bags(long(1, 2), long(0, 3, 2)), "wrong offsets of feature 'likes'; got 0 ... 2, not in rising order;"),
        (Bags(long(1), long()), "offsets of feature 'likes' are empty; expected one more than there are lists"),
        (
            Bags(long(1, 2).int(), long(0, 2)),
            "wrong values of feature 'likes'; got torch.int32 of shape (2,); expected int64",
        ),
        (Bags(long(1, 2)[None], long(0, 2)), "wrong values of feature 'likes'; got torch.int64 of shape (1, 2);"),
        (Bags(long(1, 2), torch.tensor([0.0, 2.0])), "wrong offsets of feature 'likes'; got torch.float32"),
        (
            Bags(long(1, 2), long(0, 2), torch.ones(3)),
            "feature 'likes' has not one weight per id; got (3,) weights; exp",
        ),
        (
            Bags(long(1, 2), long(0, 2), torch.ones(2, requires_grad=True)),
            "the weights of feature 'likes' need a gradient, which no kernel gives; detach() them",
        ),
        (Bags(long(1).to("meta"), long(0, 1)), "values of feature 'likes' are on meta; expected cpu"),
    ],
)
def test_wrong_bags_are_one_clear_error(bags: Bags, message: str) -> None:
    with pytest.raises(InputError) as error:
        check_bags([LIKES, LAST], {"likes": bags, "last": GOOD}, {"item": 10}, torch.device("cpu"))
    assert str(error.value).startswith(message)


def test_an_id_outside_is_found_in_a_sequence_too_whatever_its_offsets() -> None:
    with pytest.raises(InputError, match=r"feature 'last' has an id outside table 'item'; got 10"):
        check_bags([LAST], {"last": Bags(long(10), long(0))}, {"item": 10}, torch.device("cpu"))
    check_bags([LAST], {"last": Bags(long(9), long(0))}, {"item": 10}, torch.device("cpu"))


def test_missing_and_unknown_features_are_named() -> None:
    with pytest.raises(InputError) as missing:
        check_bags([LIKES, LAST], {"last": GOOD}, {"item": 10}, torch.device("cpu"))
    assert str(missing.value) == "no bags of feature 'likes'; expected bags of last, likes"
    with pytest.raises(InputError) as extra:
        check_bags([LIKES], {"likes": GOOD, "last": GOOD}, {"item": 10}, torch.device("cpu"))
    assert str(extra.value) == "feature 'last' is read by no table; expected bags of likes"


def test_pooled_features_of_a_group_have_equally_many_lists() -> None:
    views = Read(feature="views", table="view", mode="mean")
    bags = {"likes": GOOD, "views": Bags(long(1), long(0, 1)), "last": Bags(long(1), long(0, 1))}
    with pytest.raises(InputError) as error:
        check_together([LIKES, views], bags, {"likes": "user", "views": "user"})
    assert str(error.value) == (
        "features 'likes' and 'views' of group 'user' have different numbers of lists; got 2 and 1; "
        "expected the same number"
    )
    check_together([LIKES, views], bags, {"likes": "user", "views": "item"})
    check_together([LIKES, LAST], bags, {"likes": "user", "last": "user"})  # a sequence has as many as it has ids
