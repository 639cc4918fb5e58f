"""What ranks sent each other in training steps, and what of it was hidden behind other work."""

from recfold.report.facts import History
from recfold.report.format import UNKNOWN, count
from recfold.report.markup import Column, Html, join, note, paragraph, table
from recfold.train import Hidden

_MEANING = {
    "sizes": "how much follows",
    "ids": "ids of distinct lists, to the ranks that hold their rows",
    "lengths": "ids of each list",
    "weights": "weights of ids",
    "vectors": "looked-up rows, back to who asked",
    "gradients": "of these rows, to the ranks that hold them",
    "norms": "one number a touched row of tables cut by columns",
    "dense": "gradients of the dense part, summed over ranks; computed for a ring",
}
_TRAVELS_WITH = {"lengths": "ids", "weights": "ids"}


def wire(history: History) -> Html:
    """The section on bytes: means over the logged windows of the run, each with its steps."""
    sums: dict[str, float] = {}
    before = steps = samples = 0
    for point in history.wire:
        own = max(point.step - before, 1)
        for kind, number in (*point.per_step.items(), ("dense", point.dense_per_step)):
            sums[kind] = sums.get(kind, 0.0) + own * number
        before, steps, samples = point.step, steps + own, max(samples, point.samples)
    rows = [_row(kind, sums[kind], steps, samples, history.hidden) for kind in _MEANING if kind in sums]
    columns = [
        Column("kind"),
        Column("bytes a step", numeric=True, meaning="sum over ranks"),
        Column("bytes a sample", numeric=True),
        Column("ms under way", numeric=True, meaning="a step, mean over ranks"),
        Column("ms hidden", numeric=True, meaning="of these, in which a rank did something else than wait"),
        Column("what it is"),
    ]
    sparse = sum(number for kind, number in sums.items() if kind != "dense")
    parts = [
        paragraph(
            f"Embedding tables cost {count(sparse / samples) if samples else UNKNOWN} bytes a sample on the wire, "
            "counted where they are sent; what stays on a rank is not counted."
        ),
        table("Bytes between ranks", columns, rows),
    ]
    if history.hidden is None:
        parts.append(note("How much of it was hidden is measured by recfold train --profile."))
    return join(*parts)


def _row(kind: str, total: float, steps: int, samples: int, hidden: Hidden | None) -> tuple[str, ...]:
    under_way = apart = UNKNOWN
    if kind in _TRAVELS_WITH:
        under_way = apart = f"with {_TRAVELS_WITH[kind]}"
    elif hidden is not None and kind in hidden.under_way_ms:
        under_way, apart = f"{hidden.under_way_ms[kind]:.1f}", f"{hidden.hidden_ms[kind]:.1f}"
    per_sample = f"{total / samples:,.1f}" if samples else UNKNOWN
    return (kind, count(total / max(steps, 1)), per_sample, under_way, apart, _MEANING[kind])
