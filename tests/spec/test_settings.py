"""A misspelt key or a wrong value is one line that names the nearest right key."""

import pytest

from recfold.spec import InputError, Settings, apply_overrides, nearest, unknown


class Inner(Settings):
    learning_rate: float = 0.1
    name: str = "adam"


class Outer(Settings):
    train: Inner = Inner()
    tables: dict[str, Inner] = {}  # noqa: RUF012
    epochs: int = 1


def test_unknown_key_names_the_nearest_right_one() -> None:
    with pytest.raises(InputError) as caught:
        Outer.parse({"epoch": 3}, "run.toml")
    assert str(caught.value) == (
        "run.toml: unknown key 'epoch'; expected one of epochs, tables, train; did you mean 'epochs'?"
    )


def test_unknown_nested_key_names_the_nearest_of_the_inner_settings() -> None:
    with pytest.raises(InputError, match=r"unknown key 'train.learning_rat'.*did you mean 'learning_rate'"):
        Outer.parse({"train": {"learning_rat": 1}}, "x")
    with pytest.raises(InputError, match=r"unknown key 'tables.t.nam'.*did you mean 'name'"):
        Outer.parse({"tables": {"t": {"nam": 1}}}, "x")


def test_wrong_type_says_key_and_value_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        Outer.parse({"epochs": "many"}, "x")
    message = str(caught.value)
    assert message.startswith("x: epochs:")
    assert "'many'" in message
    assert "\n" not in message


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Outer().epochs = 2  # type: ignore[misc]


def test_overrides_reach_nested_settings_and_keep_the_others() -> None:
    changed = apply_overrides(Outer(), ["train.learning_rate=0.5", "epochs=3", "train.name=sgd"])
    assert changed == Outer(train=Inner(learning_rate=0.5, name="sgd"), epochs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "is not KEY=VALUE"),
        ("=3", "is not KEY=VALUE"),
        ("trian.name=x", "no setting group 'trian'.*did you mean 'train'"),
        ("train.nam=x", "unknown key 'train.nam'.*did you mean 'name'"),
        ("epochs.x=1", "no setting group 'epochs'"),
        ("epochs=1.5", "epochs: .*integer"),
    ],
)
def test_wrong_override_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_overrides(Outer(), [text])


def test_unknown_lists_the_family() -> None:
    assert nearest("zzz", ["dlrm"]) is None
    assert str(unknown("model", "zzz", ["b", "a"])) == "unknown model 'zzz'; expected one of a, b"
