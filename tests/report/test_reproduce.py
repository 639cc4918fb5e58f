import dataclasses
import shlex

import pytest

from recfold.report.reproduce import commands
from recfold.spec import apply_overrides
from recfold.train import RunSettings


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": {"fold": "lookups", "epochs": 3, "clip_norm": 1.5}},
        {"train": {"dense": {"name": "SGD", "options": {"lr": 0.5, "momentum": 0.9}}}},
        {"model": {"name": "sequence", "options": {"top": [64, 1], "name": "it's"}}},
        {"train": {"device": "7", "eval_every": 10}, "tables": {"dim": 8}},
    ],
)
def test_the_command_gives_the_same_settings_again(make_run, changes):
    settings = RunSettings.parse(changes, "test")
    train, _, _ = commands(dataclasses.replace(make_run(), settings=settings))
    words = shlex.split(train.replace("\\\n", " "))
    assert words[:5] == ["recfold", "train", "folded/demo", "--out", "runs/demo"]
    assert words[5::2] == ["--set"] * len(words[6::2])
    assert apply_overrides(RunSettings(), words[6::2]) == settings


def test_paths_with_spaces_are_quoted(make_run):
    facts = dataclasses.replace(make_run(), run="my runs/a", table="my tables/b; rm x")
    for line in commands(facts):
        assert shlex.split(line)[:2] in (["recfold", "train"], ["recfold", "evaluate"], ["recfold", "report"])
        assert "my runs/a" in shlex.split(line)
