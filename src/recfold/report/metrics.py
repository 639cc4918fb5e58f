"""How good the model is, label by label, next to the baselines."""

from recfold.report.format import count, difference, metric, plural
from recfold.report.markup import Column, Content, Html, details, element, figure, join, note, paragraph, table
from recfold.report.plots import calibration
from recfold.train import Evaluation, LabelMetrics

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("ne", "NE", "normalized entropy: log loss over that of always guessing the mean label; lower is better"),
    ("auc", "AUC", "chance that a positive scores above a negative, over all samples; higher is better"),
    ("auc_by_request", "AUC by request", "AUC inside each request that has both classes, averaged"),
    ("auc_by_session", "AUC by session", "AUC inside each session that has both classes, averaged"),
    ("calibration", "calibration", "sum of predictions over sum of labels; 1 is right on average"),
)
_MOST_TELLING = (("auc_by_request", "AUC by request"), ("auc_by_session", "AUC by session"), ("auc", "AUC"))


def metrics(evaluation: Evaluation) -> Html:
    """The table of metrics, what it says, and the calibration plots."""
    return join(
        paragraph(
            f"Measured on the {evaluation.split} split ({count(evaluation.samples)} samples) after "
            f"{count(evaluation.step)} steps. Grouped AUC compares samples inside one request or one session only, so "
            "that it says how well the candidates that someone really saw are ranked; a popularity baseline knows "
            "the candidate's past and nothing of the user."
        ),
        *(note(line) for line in evaluation.notes),
        *(_verdict(evaluation, label) for label in evaluation.labels),
        _table(evaluation),
        element(
            "div", *(_calibration(evaluation, i, name) for i, name in enumerate(evaluation.labels)), class_="plots"
        ),
    )


def _verdict(evaluation: Evaluation, label: str) -> Html:
    """How many samples there are to tell from, and the model against the best baseline in the most telling metric."""
    found = evaluation.labels[label]
    model = found.model
    parts: list[Content] = [
        element("b", label),
        f": mean label {metric(model.base_rate)}; {plural(model.requests, 'request')} and "
        f"{plural(model.sessions, 'session')} have both classes.",
    ]
    for key, title in _MOST_TELLING:
        known = {name: score for name, m in found.baselines.items() if (score := getattr(m, key)) is not None}
        mine: float | None = getattr(model, key)
        if mine is None or not known:
            continue
        best = max(known, key=lambda name: known[name])
        word = "beats" if mine > known[best] else "does not beat"
        parts.append(
            f" In {title} the model {word} the best baseline, {best}: {metric(mine)} against {metric(known[best])} "
            f"({difference(mine - known[best])})."
        )
        break
    return paragraph(*parts)


def _table(evaluation: Evaluation) -> Html:
    columns = [
        Column("label"),
        Column("scorer"),
        *(Column(title, numeric=True, meaning=meaning) for _, title, meaning in _COLUMNS),
    ]
    rows: list[list[Content]] = []
    for name, label in evaluation.labels.items():
        rows.append([element("b", name), element("b", "model"), *_scores(label.model)])
        rows += [[name, baseline, *_scores(scores)] for baseline, scores in label.baselines.items()]
    return join(table("Metrics; a dash where one is not defined", columns, rows), _meanings())


def _meanings() -> Html:
    pairs = (join(element("dt", title), element("dd", meaning)) for _, title, meaning in _COLUMNS)
    return details("What these metrics are", element("dl", *pairs))


def _scores(scores: LabelMetrics) -> list[str]:
    return [metric(getattr(scores, key)) for key, _, _ in _COLUMNS]


def _calibration(evaluation: Evaluation, index: int, name: str) -> Html:
    bins = evaluation.labels[name].bins
    if not bins:
        return Html("")
    plot = calibration(
        f"plot-calibration-{index}",
        f"Calibration of {name}",
        [b.predicted for b in bins],
        [b.observed for b in bins],
        [b.num_samples for b in bins],
    )
    caption = "Calibration of ", element("b", name), ": mean label over mean prediction in bins of predictions. "
    return figure(plot, join(*caption, "On the dashed line the model means what it says."))
