"""Prints a fitted cost: its errors on unseen tables, beside the noise of what it was measured with."""

import math

from rich.console import Console
from rich.table import Table

from recfold.plan.cost.fit import LARGE_MS, Errors, Fitted
from recfold.plan.cost.hardware import hardware_line


def show_fitted(console: Console, fitted: Fitted) -> None:
    """All figures of `recfold cost fit`."""
    facts = fitted.cost.facts
    console.print(f"fitted on {hardware_line(facts['hardware'])}", highlight=False)
    large = f"from {LARGE_MS:.0f} ms"
    shown = Table("on unseen tables", "all sets", large, title=f"mean error of {fitted.errors.num_sets:,} sets")
    shown.add_row("neural", *_shares(fitted.errors))
    shown.add_row("analytic", *_shares(fitted.analytic_errors))
    if fitted.noise is not None:
        shown.add_row("one measurement of another", *map(_percent, fitted.noise))
    console.print(shown, highlight=False)
    parts = Table("from", "to", "sets", "error", title="by cost")
    for low, high, num, error in fitted.errors.by_ms:
        parts.add_row(f"{low:.1f} ms", f"{high:.1f} ms", f"{num}", _percent(error))
    console.print(parts, highlight=False)
    console.print(f"pairs of sets dearer together than alone: {_percent(fitted.above[0])}", highlight=False)
    for head, error in fitted.exchange_errors.items():
        console.print(f"{head} exchange, on held-out sizes: {_percent(error)}", highlight=False)
    if fitted.ablation:
        without = Table("without", "all sets", large, title="what each feature is worth")
        for name, errors in fitted.ablation.items():
            without.add_row(name, *_shares(errors))
        console.print(without, highlight=False)


def _shares(errors: Errors) -> tuple[str, str]:
    return _percent(errors.all_sets), _percent(errors.large)


def _percent(share: float) -> str:
    """
    >>> _percent(0.0512), _percent(float("nan"))
    ('5.1 %', '-')
    """
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
