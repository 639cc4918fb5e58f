"""What a model computed on how many rows, as tables."""

import json
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table as Grid

from recfold.batch import Explanation


def show_explanation(console: Console, found: Explanation) -> None:
    """Lookups, operations, totals."""
    lookups = Grid(title=f"lookups of a batch of {found.num_samples:,} samples", title_justify="left")
    for name in ("features", "lists of each", "of", "ids", "of"):
        lookups.add_column(name, justify="left" if name == "features" else "right")
    for _, alike in groupby(found.lookups, key=lambda own: own.lists_used):
        own = list(alike)
        ids = (sum(lookup.ids_used or 0 for lookup in own), sum(lookup.ids_needed or 0 for lookup in own))
        row = (own[0].lists_used, own[0].lists_needed, *ids)
        lookups.add_row(_listed([lookup.feature for lookup in own]), *(f"{number:,}" for number in row))
    console.print(lookups)
    operations = Grid(title="operations, forward", title_justify="left")
    for name in ("module", "operation", "rows", "of", "flops", "of", "unfolded because"):
        operations.add_column(name, justify="right" if name in ("rows", "of", "flops") else "left")
    for step in found.operations:
        operations.add_row(
            step.module or "the model",
            step.name + (f" x {step.times}" if step.times > 1 else ""),
            f"{step.rows_used:,}",
            f"{step.rows_needed:,}",
            scaled(step.flops_used),
            scaled(step.flops_needed),
            "; ".join(step.unfolded),
        )
    console.print(operations)
    for what, used, needed in (
        ("rows", f"{found.rows_used:,}", f"{found.rows_needed:,}"),
        ("floating-point operations", scaled(found.flops_used), scaled(found.flops_needed)),
        ("ids looked up", f"{found.ids_used:,}", f"{found.ids_needed:,}"),
    ):
        console.print(f"{what}: {used} of {needed}", highlight=False)
    if found.flops_needed:
        saved = 1 - found.flops_used / found.flops_needed
        console.print(f"saved: {saved:.0%} of the forward's floating-point operations", highlight=False)


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def scaled(flops: int) -> str:
    """A number of operations in thousands, millions or billions.

    >>> scaled(950), scaled(12_345), scaled(3_400_000)
    ('950', '12.3 k', '3.4 M')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if flops >= size:
            return f"{flops / size:,.1f} {unit}"
    return str(flops)


def explanation_json(found: Explanation) -> str:
    """An explanation as JSON."""
    return json.dumps(found.as_dict(), indent=1, ensure_ascii=False)
