from recfold.report.facts import History, StepPoint, ValidationPoint
from recfold.report.training import training


def test_curve_validation_and_learning_rate_are_drawn(make_run, parse):
    page = parse(training(make_run().history).markup)
    titles = page.values("aria-label")
    assert titles == [
        "Training loss by step",
        "Validation NE by step",
        "Validation AUC by step",
        "Learning rate by step",
    ]
    assert "step 3,000: checkpoint written" in page.words


def test_a_loss_that_is_not_finite_is_counted_and_left_out(parse):
    steps = (StepPoint(1, 0.7), StepPoint(2, float("nan")), StepPoint(3, float("inf")), StepPoint(4, 0.6))
    page = parse(training(History(steps)).markup)
    assert "The loss was not finite at 2 steps" in page.words
    assert page.tags.count("svg") == 1


def test_a_constant_learning_rate_is_a_sentence_and_no_plot(parse):
    page = parse(training(History((StepPoint(1, 0.7, 0.001), StepPoint(2, 0.6, 0.001)))).markup)
    assert "The learning rate of the dense part was 0.001 throughout." in page.words
    assert page.values("aria-label") == ["Training loss by step"]


def test_a_short_run_is_not_smoothed(parse):
    steps = tuple(StepPoint(step, 0.5) for step in range(10))
    assert "smoothed" not in parse(training(History(steps)).markup).words
    assert "smoothed over about 5 logged steps" in parse(training(History(steps + steps[:1])).markup).words


def test_evaluations_without_a_logged_step_are_still_drawn(parse):
    page = parse(training(History(validation=(ValidationPoint(3, "click", ne=0.9),))).markup)
    assert "no step" in page.words
    assert page.values("aria-label") == ["Validation NE by step"]


def test_a_metric_that_was_never_defined_is_not_drawn(parse):
    history = History((StepPoint(1, 0.5),), (ValidationPoint(1, "click", ne=None, auc=None),))
    assert parse(training(history).markup).values("aria-label") == ["Training loss by step"]


def test_several_labels_are_told_apart(parse):
    points = tuple(ValidationPoint(step, label, ne=0.9) for step in (1, 2) for label in ("click", "buy"))
    words = parse(training(History(validation=points)).markup).words
    assert "click" in words
    assert "buy" in words
