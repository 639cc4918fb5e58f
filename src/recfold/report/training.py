"""The training curve and what happened on the way."""

import math

from recfold.report.facts import History, ValidationPoint
from recfold.report.format import count, metric, plural
from recfold.report.markup import Html, details, element, figure, join, note, paragraph
from recfold.report.plots import BLUE, GREEN, GREY, PURPLE, VERMILLION, Series, curve, smooth

_LABEL_COLOURS = (VERMILLION, GREEN, PURPLE, BLUE)


def training(history: History) -> Html:
    """Loss per step, validation points and learning rate, as far as the journal has them."""
    if not history.steps and not history.validation:
        return note("The journal holds no step yet.")
    parts = [_summary(history), _loss(history)]
    small = [*_validation(history), *_learning_rate(history)]
    if small:
        parts.append(element("div", *small, class_="plots"))
    if history.events:
        lines = element("ul", *(element("li", event) for event in history.events))
        parts.append(details(f"{plural(len(history.events), 'event')} in the journal", lines))
    return join(*parts)


def _summary(history: History) -> Html:
    if not history.steps:
        return note("The journal holds evaluations but no step.")
    last, rates = history.steps[-1], _learning_rates(history)
    broken = sum(not math.isfinite(point.loss) for point in history.steps)
    parts = [f"The last logged loss, at step {count(last.step)}, is {metric(last.loss)}."]
    if len(rates) == 1:
        parts.append(f" The learning rate of the dense part was {rates.pop():g} throughout.")
    if broken:
        parts.append(f" The loss was not finite at {plural(broken, 'step')}; the plot leaves them out.")
    return paragraph(*parts)


def _loss(history: History) -> Html:
    points = [(float(point.step), point.loss) for point in history.steps if math.isfinite(point.loss)]
    if not points:
        return Html("")
    steps, losses = [x for x, _ in points], [y for _, y in points]
    span = max(len(losses) // 20, 5)
    lines = [Series("each logged step", steps, losses, colour=GREY, faint=len(losses) > 1)]
    if len(losses) > 2 * span:
        lines.append(Series(f"smoothed over about {span} logged steps", steps, smooth(losses, span)))
    caption = "Training loss. The axis leaves out the most extreme 2 % of the single steps at either end."
    plot = curve("plot-loss", "Training loss by step", lines, y="loss", wide=True)
    return element("div", figure(plot, caption), class_="wide")


def _validation(history: History) -> list[Html]:
    plots = []
    for key, short, caption in (
        ("ne", "NE", "Normalized entropy on the validation split: lower is better, below 1 beats a constant guess."),
        ("auc", "AUC", "AUC on the validation split: higher is better, 0.5 is a coin toss."),
    ):
        lines = _by_label(history.validation, key)
        if lines:
            plot = curve(f"plot-{key}", f"Validation {short} by step", lines, y=f"validation {short}")
            plots.append(figure(plot, caption))
    return plots


def _by_label(points: tuple[ValidationPoint, ...], key: str) -> list[Series]:
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        value: float | None = getattr(point, key)
        if value is not None and math.isfinite(value):
            found.setdefault(point.label, []).append((float(point.step), value))
    return [
        Series(label, [x for x, _ in xy], [y for _, y in xy], _LABEL_COLOURS[i % len(_LABEL_COLOURS)], marked=True)
        for i, (label, xy) in enumerate(found.items())
    ]


def _learning_rates(history: History) -> set[float]:
    return {point.learning_rate for point in history.steps if point.learning_rate is not None}


def _learning_rate(history: History) -> list[Html]:
    """The plot, for a rate that was not the same all the time."""
    points = [(float(point.step), point.learning_rate) for point in history.steps if point.learning_rate is not None]
    if len(_learning_rates(history)) < 2:
        return []
    line = Series("learning rate", [x for x, _ in points], [y for _, y in points], colour=PURPLE)
    plot = curve("plot-learning-rate", "Learning rate by step", [line], y="learning rate")
    return [figure(plot, "Learning rate of the dense part.")]
