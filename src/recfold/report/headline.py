"""The first screen: what was trained on what, and whether it was worth it."""

import statistics
from collections.abc import Sequence

from recfold.report.facts import RunFacts
from recfold.report.format import count, difference, factor, metric
from recfold.report.markup import Html, code, element, join, note
from recfold.train import Evaluation

_TITLES: dict[str, str] = {
    "auc": "AUC",
    "ne": "Normalized entropy",
    "auc_by_request": "AUC by request",
    "auc_by_session": "AUC by session",
}


def headline(facts: RunFacts) -> Html:
    """One sentence, the figures that matter as cards, and a line for each part that is missing."""
    cards = [*_data(facts), *_scores(facts.evaluation), *_speed(facts)]
    return join(
        _sentence(facts),
        element("div", *cards, class_="cards") if cards else Html(""),
        *(note(line) for line in facts.notes),
    )


def _sentence(facts: RunFacts) -> Html:
    parts: list[Html | str] = ["Model ", code(facts.settings.model.name), ", table ", code(facts.table)]
    if facts.fold is not None:
        samples = count(facts.fold.inspection.samples)
        parts.append(f": {samples} samples, whose repeated values are stored once and computed once")
    if facts.settings.train.fold != "on":
        parts.append(f" (this run was trained with fold {facts.settings.train.fold})")
    return element("p", *parts, ".", class_="lead")


def _card(name: str, value: str, aside: str) -> Html:
    rows = (("name", name), ("value", value), ("aside", aside))
    return element("div", *(element("div", text, class_=part) for part, text in rows), class_="card")


def _data(facts: RunFacts) -> Sequence[Html]:
    fold = facts.fold
    if fold is None:
        return ()
    splits = " · ".join(f"{split.name} {count(split.samples)}" for split in fold.inspection.splits)
    cards = [_card("Samples", count(fold.inspection.samples), splits)]
    if fold.dedup_factor is not None:
        aside = f"samples per stored list; in values {factor(fold.value_factor)}"
        cards.append(_card("Dedup factor", factor(fold.dedup_factor), aside))
    return cards


def _scores(evaluation: Evaluation | None) -> Sequence[Html]:
    """Cards of the first label."""
    if evaluation is None or not evaluation.labels:
        return ()
    label = next(iter(evaluation.labels))
    name = f" ({label})" if len(evaluation.labels) > 1 else ""
    return [
        _card(title + name, metric(value), _against(evaluation, label, key, value))
        for key, title in _TITLES.items()
        if (value := getattr(evaluation.labels[label].model, key)) is not None
    ]


def _against(evaluation: Evaluation, label: str, key: str, value: float) -> str:
    """The best baseline in this metric and how far the model is from it; lower is better for NE only."""
    baselines = evaluation.labels[label].baselines
    known = {name: score for name, metrics in baselines.items() if (score := getattr(metrics, key)) is not None}
    if not known:
        return "below 1 beats a constant guess" if key == "ne" else "0.5 is a coin toss"
    best = min(known, key=lambda name: known[name] if key == "ne" else -known[name])
    return f"{best} {metric(known[best])} ({difference(value - known[best])})"


def _speed(facts: RunFacts) -> Sequence[Html]:
    timings = facts.throughput.samples_per_s if facts.throughput is not None else {}
    if not timings.get("on") or not timings.get("off"):
        return ()
    on, off = statistics.median(timings["on"]), statistics.median(timings["off"])
    return [_card("Training speed, fold on / off", factor(on / off), f"{count(on)} against {count(off)} samples/s")]
