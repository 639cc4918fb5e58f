from recfold.report.metrics import metrics


def test_a_model_worse_than_popularity_is_told_so(make_evaluation, make_metrics, parse):
    label = {"model": make_metrics(auc_by_request=0.45), "baselines": {"popularity": make_metrics(auc_by_request=0.6)}}
    expected = (
        "In AUC by request the model does not beat the best baseline, popularity: 0.4500 against 0.6000 (−0.1500)."
    )
    assert expected in parse(metrics(make_evaluation(buy=label)).markup).words


def test_without_requests_the_verdict_is_about_sessions(make_evaluation, make_metrics, parse):
    label = {
        "model": make_metrics(auc_by_session=0.7, auc=0.1),
        "baselines": {"popularity": make_metrics(auc_by_session=0.6, auc=0.2)},
    }
    words = parse(metrics(make_evaluation(buy=label)).markup).words
    assert "In AUC by session the model beats the best baseline" in words


def test_a_metric_that_is_not_defined_is_a_dash(make_evaluation, make_metrics, parse):
    label = {"model": make_metrics(), "baselines": {"popularity": make_metrics()}}
    words = parse(metrics(make_evaluation(buy=label)).markup).words
    assert "buy model – – – – – buy popularity – – – – –" in words
    assert "beat" not in words.replace("beats a constant guess", "")


def test_each_label_has_its_own_calibration_plot(make_evaluation, make_metrics, parse):
    bins = [{"predicted": 0.1, "observed": 0.2, "num_samples": 3}]
    label = {"model": make_metrics(), "bins": bins}
    page = parse(metrics(make_evaluation(a=label, b=label, c={"model": make_metrics()})).markup)
    assert page.tags.count("svg") == 2
    assert len(page.values("id")) == len(set(page.values("id")))


def test_what_could_not_be_computed_is_said(make_evaluation, make_metrics, parse):
    evaluation = make_evaluation(buy={"model": make_metrics()}).model_copy(update={"notes": ("no candidate key",)})
    assert "no candidate key" in parse(metrics(evaluation).markup).words
