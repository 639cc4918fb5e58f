"""The plots of the report, each from plain numbers to inline SVG. Colours are Okabe and Ito's, told apart by all."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recfold.report.format import shorten
from recfold.report.markup import Html
from recfold.report.svg import inline_svg

BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#a8558a", "#8c959f"
KIND_COLOURS: dict[str, str] = {"session": BLUE, "window": VERMILLION, "dictionary": GREEN, "sample": GREY}
MAX_POINTS = 1_500
"""A line of more points is thinned to this many bucket means: more would only make the page heavy."""

NARROW, WIDE = 5.4, 11.2
"""Inches across, so that text is of one size in a plot of half the page and in one of the whole page."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recfold",
    "font.size": 10,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": "#424a53",
    "axes.formatter.use_mathtext": False,
    "xtick.color": "#424a53",
    "ytick.color": "#424a53",
    "grid.color": "#e4e7eb",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Series:
    """One line: `x` rising, `y` finite; `marked` draws its points too, `faint` puts it in the background."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = BLUE
    faint: bool = False
    marked: bool = False


@contextmanager
def _axes(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of one plot in the report's style, whatever the user's own matplotlib settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def bars(
    name: str,
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    kinds: Sequence[str],
    shown: Sequence[str],
) -> Html:
    """Horizontal bars from the top down, each with its value written at its end.

    Args:
        kinds: the kind of each bar's group, which gives its colour (`KIND_COLOURS`).
        shown: each value as text.
    """
    with _axes(NARROW, 0.75 + 0.26 * len(values)) as (figure, axes):
        places = range(len(values))
        axes.barh(places, values, height=0.7, color=[KIND_COLOURS.get(kind, PURPLE) for kind in kinds])
        axes.set_yticks(places, [shorten(label) for label in labels])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        largest = max((value for value in values if value > 0), default=1.0)
        axes.set_xlim(0, largest * 1.2)
        for place, value, text in zip(places, values, shown, strict=True):
            axes.text(value + largest * 0.015, place, text, va="center", fontsize=9, color="#424a53")
        _kind_legend(axes, kinds)
        return inline_svg(name, title, figure)


def _kind_legend(axes: Axes, kinds: Sequence[str]) -> None:
    present = [kind for kind in KIND_COLOURS if kind in kinds]
    if len(present) > 1:
        handles = [
            Line2D([], [], marker="s", linestyle="", color=KIND_COLOURS[kind], label=_kind_name(kind))
            for kind in present
        ]
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), fontsize=9,
            handletextpad=0.1, columnspacing=1, borderaxespad=0.2,
        )  # fmt: skip


def _kind_name(kind: str) -> str:
    return "per sample" if kind == "sample" else kind


def curve(name: str, title: str, series: Sequence[Series], *, y: str, x: str = "step", wide: bool = False) -> Html:
    """Lines over training steps.

    The upper end of the axis leaves out the highest 2 % of a faint line: its first, untrained steps would press
    everything else flat.
    """
    with _axes(*((WIDE, 3.4) if wide else (NARROW, 2.7))) as (figure, axes):
        for line in series:
            xs, ys = thin(line.x, line.y)
            axes.plot(
                xs, ys, color=line.colour, label=line.label, linewidth=0.8 if line.faint else 1.8,
                alpha=0.75 if line.faint else 1.0, marker="o" if line.marked or len(xs) == 1 else None, markersize=4,
            )  # fmt: skip
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        limits = y_limits(series)
        if limits is not None:
            axes.set_ylim(*limits)
        if len(series) > 1:
            axes.legend(fontsize=9)
        return inline_svg(name, title, figure)


def thin(x: Sequence[float], y: Sequence[float], most: int = MAX_POINTS) -> tuple[list[float], list[float]]:
    """At most `most` points: the means of equal runs of neighbours.

    >>> thin([1, 2, 3, 4], [1.0, 3.0, 5.0, 7.0], most=2)
    ([1.5, 3.5], [2.0, 6.0])
    """
    run = -(-len(x) // most)
    if run <= 1:
        return list(x), list(y)
    starts = range(0, len(x), run)
    return [statistics.fmean(x[s : s + run]) for s in starts], [statistics.fmean(y[s : s + run]) for s in starts]


def y_limits(series: Sequence[Series]) -> tuple[float, float] | None:
    """Ends of the y axis that hold every line but the extreme 2 % of a faint one; None where that says nothing."""
    kept: list[float] = []
    for line in series:
        ordered = sorted(line.y)
        cut = len(ordered) // 50 if line.faint else 0
        kept += ordered[cut : len(ordered) - cut]
    if not kept or min(kept) == max(kept):
        return None
    margin = 0.06 * (max(kept) - min(kept))
    return min(kept) - margin, max(kept) + margin


def smooth(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving average over about `span` values, corrected for its start (as Adam's moments are).

    >>> [round(x, 3) for x in smooth([1.0, 1.0, 4.0], span=3)]
    [1.0, 1.0, 2.714]
    """
    decay = 1 - 2 / (max(span, 1) + 1)
    total, weight, out = 0.0, 0.0, []
    for value in values:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        out.append(total / weight)
    return out


def calibration(
    name: str, title: str, predicted: Sequence[float], observed: Sequence[float], num_samples: Sequence[float]
) -> Html:
    """Mean label over mean prediction, a bin a point, larger where it holds more samples.

    Args:
        predicted, observed, num_samples: of each bin, at least one.
    """
    with _axes(NARROW, 4.0) as (figure, axes):
        end = max(*predicted, *observed) * 1.08 or 1.0
        axes.plot([0, end], [0, end], color=GREY, linewidth=1, linestyle="--", label="perfect")
        most = max(num_samples) or 1.0
        areas = [12 + 60 * number / most for number in num_samples]
        axes.plot(predicted, observed, color=BLUE, linewidth=1, label="model")
        axes.scatter(predicted, observed, s=areas, color=BLUE, zorder=3)
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
        axes.set_xlabel("mean prediction")
        axes.set_ylabel("mean label")
        axes.grid(color="#e4e7eb")
        axes.legend(fontsize=9, loc="upper left")
        return inline_svg(name, title, figure)


def throughput(name: str, title: str, runs: Mapping[str, Sequence[float]]) -> Html:
    """A bar for the median of each way to train, a dot for each of its timings (samples per second)."""
    with _axes(NARROW, 0.9 + 0.42 * len(runs)) as (figure, axes):
        medians = [statistics.median(timings) for timings in runs.values()]
        colours = {"on": BLUE, "lookups": GREEN, "off": GREY}
        axes.barh(range(len(runs)), medians, height=0.6, color=[colours.get(mode, PURPLE) for mode in runs], alpha=0.75)
        for place, timings in enumerate(runs.values()):
            axes.scatter(timings, [place] * len(timings), s=14, color="#24292f", zorder=3, linewidths=0)
        axes.set_yticks(range(len(runs)), [f"fold {mode}" for mode in runs])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel("samples per second")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        return inline_svg(name, title, figure)
