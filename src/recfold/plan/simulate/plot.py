"""The scaling curve as a picture."""

from collections.abc import Sequence
from pathlib import Path

from recfold.plan.simulate.curve import Point
from recfold.plan.simulate.step import PHASES
from recfold.spec import InputError

COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#8c959f", "#f0e442")
FORMATS = (".svg", ".png", ".pdf")


def save_curve(points: Sequence[Point], path: Path) -> None:
    """Left: samples a second over ranks, beside what doubling with the ranks would give. Right: phases of each step.

    Raises:
        InputError: no size fits, or another format than SVG, PNG or PDF.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = [(point.ranks, point.samples_per_s, point.step) for point in points if point.step is not None]
    if not shown:
        raise InputError("no size of the curve fits", got=points[0].problem if points else "no sizes")
    if path.suffix not in FORMATS:
        raise InputError(f"cannot draw {path.name}", expected=f"a name that ends in {', '.join(FORMATS)}")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        style = {"svg.hashsalt": "recfold", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
        matplotlib.rcParams.update({**style, "legend.frameon": False})
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        speed, parts = figure.subplots(1, 2)
        ranks = [own for own, _, _ in shown]
        speed.plot(ranks, [own for _, own, _ in shown], marker="o", color=COLOURS[0], label="simulated")
        first = shown[0]
        speed.plot(ranks, [first[1] * own / first[0] for own in ranks], "--", color="#8c959f", label="linear")
        speed.set(xscale="log", yscale="log", xlabel="ranks", ylabel="samples a second", xticks=ranks)
        speed.set_xticklabels([str(own) for own in ranks])
        speed.minorticks_off()
        speed.legend()
        below = [0.0] * len(shown)
        for name, colour in zip(PHASES, COLOURS, strict=True):
            heights = [step.phase_ms(name) for _, _, step in shown]
            parts.bar(range(len(shown)), heights, bottom=below, color=colour, label=name, width=0.6)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        marks = [step.ms for _, _, step in shown]
        parts.plot(range(len(shown)), marks, "k_", markersize=22, label="step")
        parts.set(xlabel="ranks", ylabel="ms of the slowest rank", xticks=range(len(shown)))
        parts.set_xticklabels([str(own) for own in ranks])
        parts.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
