import dataclasses

from recfold.report.folded import accounted, folded


def test_many_features_show_the_largest_and_list_all(make_run, parse):
    words = parse(folded(make_run(300).fold).markup).words
    assert "The largest 24, and 276 more in the table below." in words
    assert "All 300 features" in words
    assert all(f"feature_{i:03d}" in words for i in range(300))


def test_few_features_are_all_in_the_plots(make_run, parse):
    assert "more in the table below" not in parse(folded(make_run(3).fold).markup).words


def test_a_group_without_features_is_left_out(make_run, parse):
    words = parse(folded(make_run(3).fold).markup).words
    assert "3 groups, 3 features" in words
    assert "dictionary_group dictionary (item) 1 20.0× 10,000" in words


def test_why_a_group_was_chosen_is_said(make_run, parse):
    fold = make_run(2).fold
    groups = (fold.inspection.groups[0], dataclasses.replace(fold.inspection.groups[1], chosen=None))
    inspection = dataclasses.replace(fold.inspection, groups=groups)
    words = parse(folded(dataclasses.replace(fold, inspection=inspection)).markup).words
    assert "expected dedup factor 12.5" in words
    assert "named in the schema" in words


def test_both_equations_are_shown(make_run, parse):
    words = parse(accounted(make_run().fold.inspection.accounting).markup).words
    assert "200,012 candidate rows in = 180,000 train samples + 20,000 validation samples + 12 quarantined ✓" in words
    assert "41,000 outcomes in = 40,900 joined + 100 quarantined ✓" in words
    assert "candidate rows duplicate 7 candidate rows null time 5 outcomes orphan 80 outcomes late 20" in words


def test_an_equation_that_does_not_hold_is_marked(make_run, parse):
    wrong = make_run().fold.inspection.accounting.model_copy(update={"joined": 40_000})
    assert "does not add up: off by 900" in parse(accounted(wrong).markup).words


def test_an_empty_quarantine_is_said(make_run, parse):
    clean = make_run().fold.inspection.accounting.model_copy(
        update={"quarantined_candidates": {}, "quarantined_outcomes": {}}
    )
    assert "Nothing is in quarantine." in parse(accounted(clean).markup).words
