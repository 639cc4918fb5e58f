import dataclasses

from recfold.report.headline import headline
from recfold.train import RunSettings


def test_headline_holds_the_figures_next_to_the_baseline(make_run, parse):
    words = parse(headline(make_run()).markup).words
    assert "Samples 200,000 train 180,000 · validation 20,000" in words
    assert "AUC 0.7811 popularity in train 0.6410 (+0.1401)" in words
    assert "Normalized entropy 0.8432 popularity in train 0.9300 (−0.0868)" in words
    assert "AUC by request 0.7012 popularity in train 0.6334 (+0.0678)" in words
    assert "Training speed, fold on / off 2.00× 16,000 against 8,000 samples/s" in words


def test_the_strongest_baseline_is_the_one_to_beat(make_run, make_evaluation, make_metrics, parse):
    label = {
        "model": make_metrics(auc=0.7, ne=0.9),
        "baselines": {"weak": make_metrics(auc=0.5, ne=1.0), "strong": make_metrics(auc=0.6, ne=0.95)},
    }
    facts = dataclasses.replace(make_run(), evaluation=make_evaluation(buy=label))
    words = parse(headline(facts).markup).words
    assert "strong 0.6000 (+0.1000)" in words
    assert "strong 0.9500 (−0.0500)" in words
    assert "weak" not in words


def test_headline_is_about_the_first_of_several_labels(make_run, make_evaluation, make_metrics, parse):
    evaluation = make_evaluation(click={"model": make_metrics(auc=0.7)}, buy={"model": make_metrics(auc=0.8)})
    words = parse(headline(dataclasses.replace(make_run(), evaluation=evaluation)).markup).words
    assert "AUC (click) 0.7000 0.5 is a coin toss" in words
    assert "0.8000" not in words


def test_no_ratio_without_a_plain_timing(make_run, make_throughput, parse):
    facts = dataclasses.replace(make_run(), throughput=make_throughput(on=(10.0, 20.0)))
    assert "fold on / off" not in parse(headline(facts).markup).words


def test_the_page_says_what_other_fold_the_run_used(make_run, parse):
    facts = dataclasses.replace(make_run(), settings=RunSettings.parse({"train": {"fold": "off"}}, "test"))
    assert "trained with fold off" in parse(headline(facts).markup).words
