"""Prints a plan: what lies on each rank, what it is predicted to take, and how much better a plan could be."""

import json
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from recfold.plan import shares
from recfold.plan.explained import Explained, Rating
from recfold.train import Planned

SHOWN_TABLES = 3
MOST_ROWS = 32
"""Of more ranks the slowest are shown."""

CUTS = {"row_wise": "by rows", "column_wise": "by columns", "grid": "both", "replicated": "replicated"}


def show_plan(console: Console, found: Planned) -> None:
    """Every rank, then balance, bound and gap."""
    explained, ranks = found.explained, found.explained.rating.ranks
    shown = Table(
        "rank",
        "tables",
        "cut",
        "memory",
        "compute",
        "exchange",
        "together",
        *(() if explained.measured_ms is None else ("computing, measured",)),
        "largest",
        title=f"{len(found.sizes)} tables on {len(ranks)} ranks: predicted milliseconds of a step",
    )
    held = shares(found.plan, found.sizes)
    slowest = sorted(ranks, key=lambda rank: -rank.ms)[:MOST_ROWS]
    for rank in sorted(slowest, key=lambda rank: rank.rank):
        share = held[rank.rank]
        cuts = Counter(CUTS[kind] for kind in share.kinds.values() if kind in CUTS)
        shown.add_row(
            str(rank.rank),
            str(len(share.tables)),
            ", ".join(f"{number} {cut}" for cut, number in cuts.items()) or "-",
            size_text(rank.num_bytes),
            f"{rank.compute_ms:.2f}",
            f"{rank.exchange_ms:.2f}",
            f"{rank.ms:.2f}",
            *(() if explained.measured_ms is None else (f"{explained.measured_ms[rank.rank]:.2f}",)),
            ", ".join(f"{name} {size_text(own)}" for name, own in list(share.tables.items())[:SHOWN_TABLES]),
        )
    console.print(shown, highlight=False)
    if len(slowest) < len(ranks):
        console.print(f"the {MOST_ROWS} slowest of {len(ranks)} ranks", highlight=False)
    for line in lines(explained):
        console.print(line, highlight=False, soft_wrap=True)


def lines(explained: Explained) -> list[str]:
    """What is said under the table."""
    rating = explained.rating
    found = [
        f"slowest rank {rating.slowest_ms:.2f} ms, {rating.balance:.3f} times the mean; "
        f"search {explained.search}, {explained.took_s:.1f} s",
        f"lower bound {rating.bound_ms:.2f} ms: the plan is {100 * rating.gap:.1f} % above it",
    ]
    if rating.bound_holds:
        found[-1] += ". No plan of these tables can be faster than the bound by this cost, so no more is left to gain"
        found.append("the cost held its check on sets of these tables, so the bound can be relied on")
    else:
        found.append(
            "the cost did not hold its check (a set costs at most what its parts cost, and no less than one of them): "
            "take the bound as a guide only"
        )
    found.append(f"cost: {explained.cost}")
    if explained.measured_ms is not None:
        predicted = max(rank.compute_ms for rank in rating.ranks)
        found.append(
            f"measured on this machine, each rank alone on one thread: computing takes "
            f"{max(explained.measured_ms):.2f} ms on the slowest rank, predicted {predicted:.2f} ms"
        )
    return found


def show_comparison(console: Console, compared: Mapping[str, Explained]) -> None:
    """Every search's plan, fastest first."""
    is_timed = any(own.measured_ms is not None for own in compared.values())
    timed = ("computing, measured",) if is_timed else ()
    shown = Table("search", "slowest", "balance", "over the bound", *timed, "time", title="all searches")
    for name, own in sorted(compared.items(), key=lambda item: item[1].rating.slowest_ms):
        rating = own.rating
        row = [f"{rating.slowest_ms:.2f} ms", f"{rating.balance:.3f}", f"{100 * rating.gap:.1f} %"]
        if own.measured_ms is not None:
            row.append(f"{max(own.measured_ms):.2f} ms")
        shown.add_row(name, *row, f"{own.took_s:.2f} s")
    console.print(shown, highlight=False)


def plan_json(found: Planned, compared: Mapping[str, Explained] | None) -> str:
    """Plan, explanation and comparison."""
    explained = found.explained.model_dump(mode="json")
    explained["rating"] |= _figures(found.explained.rating)
    data = {"plan": found.plan.model_dump(mode="json"), "explained": explained}
    if compared is not None:
        data["compared"] = {
            name: _figures(own.rating) | {"took_s": own.took_s, "measured_ms": own.measured_ms}
            for name, own in compared.items()
        }
    return json.dumps(data, indent=1)


def _figures(rating: Rating) -> dict[str, float]:
    return {"slowest_ms": rating.slowest_ms, "balance": rating.balance, "gap": rating.gap}


def size_text(num_bytes: int) -> str:
    """
    >>> size_text(1234), size_text(5_600_000_000)
    ('1.2 kB', '5.6 GB')
    """
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= one:
            return f"{num_bytes / one:.1f} {unit}"
    return f"{num_bytes} B"
