import dataclasses
import re

import pytest

from recfold.report.document import document
from recfold.report.facts import History, RunFacts, StepPoint, ValidationPoint
from recfold.train import Evaluation, RunSettings

EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize("num_features", [0, 1, 300])
def test_page_is_well_formed_with_any_number_of_features(make_run, parse, num_features):
    page = parse(document(make_run(num_features)))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    anchors = {value[1:] for value in page.values("href") if value and value.startswith("#")}
    assert {"folded", "accounting", "training", "metrics", "throughput", "settings", "reproduce"} <= anchors <= set(ids)


def test_page_fetches_nothing_and_runs_nothing(make_run, parse):
    page = document(make_run())
    parsed = parse(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not parsed.values("src")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert all(value and value.startswith("#") for value in parsed.values("href"))


def test_the_same_facts_give_the_same_page(make_run):
    assert document(make_run()) == document(make_run())


def test_names_from_the_logs_are_never_markup(make_run, make_throughput, make_metrics, parse):
    facts = make_run(4)
    found = facts.fold.inspection
    features = tuple(dataclasses.replace(f, name=EVIL, group=EVIL, kind=EVIL) for f in found.features)
    groups = tuple(dataclasses.replace(g, name=EVIL, features=(EVIL,), chosen=EVIL) for g in found.groups)
    accounting = found.accounting.model_copy(update={"samples": {EVIL: 1}, "quarantined_outcomes": {EVIL: 1}})
    splits = tuple(dataclasses.replace(split, name=EVIL) for split in found.splits)
    inspection = dataclasses.replace(
        found,
        features=features,
        groups=groups,
        accounting=accounting,
        splits=splits,
        description=EVIL,
        inferred=(EVIL,),
    )
    label = {"model": make_metrics(ne=0.9), "baselines": {EVIL: make_metrics(ne=1.0)}}
    label["bins"] = [{"predicted": 0.1, "observed": 0.1, "num_samples": 1}]
    evaluation = {"split": EVIL, "step": 1, "samples": 1, "labels": {EVIL: label}, "notes": [EVIL]}
    history = History(
        tuple(StepPoint(i, 0.5) for i in range(3)),
        (ValidationPoint(1, EVIL, ne=0.9), ValidationPoint(1, "b", ne=0.8)),
        (EVIL,),
    )
    evil = RunFacts(
        run=EVIL,
        table=EVIL,
        settings=RunSettings.parse({"model": {"name": EVIL, "options": {EVIL: EVIL}}}, "test"),
        versions={EVIL: EVIL},
        circumstances={EVIL: EVIL},
        history=history,
        evaluation=Evaluation.parse(evaluation, "test"),
        throughput=make_throughput(**{EVIL: (1.0,), "on": (1.0,)}),
        fold=dataclasses.replace(facts.fold, inspection=inspection, cut=EVIL, settings={EVIL: EVIL}),
        notes=(EVIL,),
    )
    page = document(evil)
    assert "script" not in parse(page).tags
    assert "<script" not in page


def test_a_run_that_has_only_begun_says_what_is_missing(parse):
    text = parse(document(RunFacts(run="r", table="t", settings=RunSettings(), notes=("no table at t",)))).words
    for line in (
        "no table at t",
        "The folded table could not be read.",
        "The journal holds no step yet.",
        "This run is not evaluated yet",
        "throughput of fold on and off is not measured",
        "does not say with which versions",
    ):
        assert line in text
