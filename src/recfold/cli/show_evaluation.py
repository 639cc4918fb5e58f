"""An evaluation as a table: the model next to the popularity baselines."""

from rich.console import Console
from rich.table import Table as Grid

from recfold.train import Evaluation, LabelMetrics


def show_evaluation(console: Console, found: Evaluation) -> None:
    """One table a label."""
    for label, entry in found.labels.items():
        grid = Grid(title=f"{label}: {found.split}, {found.samples:,} samples, step {found.step}", title_justify="left")
        for name in ("", "NE", "AUC", "AUC by request", "AUC by session", "calibration", "logloss"):
            grid.add_column(name, justify="right" if name else "left")
        for name, metrics in (("model", entry.model), *entry.baselines.items()):
            grid.add_row(name, *_row(metrics))
        console.print(grid)
        console.print(
            f"AUC by request is over {entry.model.requests:,} requests, by session over {entry.model.sessions:,} "
            "sessions, those with both classes"
        )
    for note in found.notes:
        console.print(f"note: {note}")


def _row(metrics: LabelMetrics) -> list[str]:
    figures = (
        metrics.ne,
        metrics.auc,
        metrics.auc_by_request,
        metrics.auc_by_session,
        metrics.calibration,
        metrics.logloss,
    )
    return ["-" if figure is None else f"{figure:.4f}" for figure in figures]
