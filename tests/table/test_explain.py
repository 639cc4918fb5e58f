"""Choices in plain words."""

import pytest

from recfold.table.explain import explain
from recfold.table.manifest import Form, Weighed

SAMPLE = Form(kind="sample", dedup_factor=1, bytes_per_sample=31)
SESSION = Form(kind="session", dedup_factor=5, bytes_per_sample=10)
WINDOW = Form(kind="window", dedup_factor=40, bytes_per_sample=2.5)
ITEM = Form(kind="dictionary", key="item", dedup_factor=90, bytes_per_sample=6.9)


def test_a_choice_of_the_fold_says_what_others_would_cost() -> None:
    weighed = Weighed(group="window_0", features=("seen",), forms=(WINDOW, SAMPLE, SESSION, ITEM), chosen="windows")
    assert explain(weighed) == (
        "a window group: about 2.5 bytes a sample before compression, expected dedup factor of its values 40.00",
        "per sample: 12.4x the bytes",
        "a session group: 4.0x the bytes",
        "an item dictionary: 2.8x the bytes",
    )


def test_of_a_declared_choice_the_cheapest_other_is_considered() -> None:
    lines = explain(Weighed(group="mine", features=("seen",), forms=(SESSION, SAMPLE, WINDOW, ITEM)))
    assert lines[2:] == ("consider kind window: 0.25x the bytes", "an item dictionary: 0.69x the bytes")


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (ITEM, "consider kind dictionary, key item: 0.22x the bytes"),
        (SESSION.model_copy(update={"bytes_per_sample": 25.0}), "a session group: 0.81x the bytes"),
    ],
    ids=["much cheaper", "a little cheaper"],
)
def test_a_declared_choice_is_questioned_only_where_much_is_to_be_saved(other: Form, line: str) -> None:
    assert explain(Weighed(group="sample", features=("seen",), forms=(SAMPLE, other)))[1:] == (line,)


def test_a_group_that_should_be_none_is_questioned() -> None:
    forms = (SESSION, SAMPLE.model_copy(update={"bytes_per_sample": 5.0}))
    assert explain(Weighed(group="mine", features=("x",), forms=forms))[1] == "consider group sample: 0.50x the bytes"


def test_values_that_take_nothing_are_no_error() -> None:
    nothing = Form(kind="sample", dedup_factor=1, bytes_per_sample=0)
    assert len(explain(Weighed(group="sample", features=("x",), forms=(nothing, SESSION)))) == 2
