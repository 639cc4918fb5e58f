"""Settings are checked when they are given, and compared when a run is resumed."""

import pytest

from recfold.spec import InputError, apply_overrides
from recfold.train import RunSettings
from recfold.train.settings import check_resumable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.batch_sise=1", "unknown key 'train.batch_sise'.*did you mean 'batch_size'"),
        ("train.batch_size=0", "train.batch_size"),
        ("train.fold=half", "train.fold"),
        ("train.eval_every=0", "eval_every must be at least 1 step, or a word"),
        ("train.checkpoint_every=never", "train.checkpoint_every"),
        ("tables.optimizer=adamw", "tables.optimizer"),
        ("tables.beta1=1", "tables.beta1"),
        ('train.stop={"metric": "recall"}', "train.stop.metric"),
        ('train={"eval_every": "never", "stop": {"metric": "auc"}}', "early stopping needs evaluations"),
    ],
)
def test_wrong_settings_are_one_clear_line(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        apply_overrides(RunSettings(), [change])


def test_options_of_optimizer_and_model_are_free_until_they_are_used() -> None:
    settings = apply_overrides(RunSettings(), ["train.dense.options.lr=0.5", "model.options.top=[8,4]"])
    assert settings.train.dense.options == {"lr": 0.5}
    assert settings.model.options == {"top": [8, 4]}


def test_settings_survive_json() -> None:
    settings = apply_overrides(RunSettings(), ["train.eval_every=5", "train.stop.metric=ne"])
    assert RunSettings.parse(settings.model_dump(mode="json"), "settings.json") == settings


@pytest.mark.parametrize(
    ("before", "now", "allowed"),
    [
        (["train.epochs=1"], ["train.epochs=2"], True),
        (["train.epochs=2"], ["train.epochs=1"], False),
        (["train.max_steps=5"], [], True),
        ([], ["train.max_steps=5"], False),
        (["train.max_steps=5"], ["train.max_steps=6"], True),
        ([], ["train.seed=1"], False),
        ([], ["train.dense.options.eps=1"], False),
    ],
)
def test_only_more_epochs_and_steps_may_be_asked_for(before: list[str], now: list[str], allowed: bool) -> None:
    old, new = apply_overrides(RunSettings(), before), apply_overrides(RunSettings(), now)
    if allowed:
        check_resumable(old, new)
    else:
        with pytest.raises(InputError, match="a resumed run keeps its settings; got train"):
            check_resumable(old, new)
