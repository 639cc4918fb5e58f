"""Training speed with folding, with folded lookups only, and without, on the same batches."""

import statistics

from recfold.report.format import UNKNOWN, count, factor, plural
from recfold.report.markup import Column, Html, element, figure, join, note, paragraph, table
from recfold.report.plots import throughput as throughput_plot
from recfold.train import Throughput

_MEANING = {
    "on": "lookups and network on distinct rows, copied out as late as possible",
    "lookups": "lookups on distinct rows, the network on samples",
    "off": "everything on samples, as without recfold",
}


def throughput(measured: Throughput) -> Html:
    """The section on speed."""
    timed = {mode: timings for mode, timings in measured.samples_per_s.items() if timings}
    if not timed:
        return note("No step was timed.")
    medians = {mode: statistics.median(timings) for mode, timings in timed.items()}
    base = medians.get("off")
    rows = [
        (
            f"fold {mode}",
            count(medians[mode]),
            f"{count(min(timings))} – {count(max(timings))}",
            count(len(timings)),
            factor(medians[mode] / base) if base else UNKNOWN,
            _MEANING.get(mode, ""),
        )
        for mode, timings in timed.items()
    ]
    columns = [
        Column("way to train"),
        Column("median samples/s", numeric=True),
        Column("range", numeric=True),
        Column("steps", numeric=True),
        Column("over fold off", numeric=True, meaning="ratio of medians"),
        Column("what it computes"),
    ]
    plot = throughput_plot("plot-throughput", "Training throughput by fold mode", timed)
    return join(
        paragraph(
            "The same model on the same batches; the result is the same up to floating-point reassociation, only the "
            f"amount of work differs. Timed in turns: batches of {count(measured.batch_size)} samples on "
            f"{measured.device} with {plural(measured.threads, 'thread')}, reading not included."
        ),
        table("Training throughput", columns, rows),
        element("div", figure(plot, "Bars are medians; each dot is one step."), class_="plots"),
    )
