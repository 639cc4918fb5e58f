"""One step of the local search: the change that makes the slowest rank fastest and no other as slow as it was.

A change takes something from the slowest rank and gives something to another, so that its rate is the slower of the two
afterwards; both are one addition to the ranks' sums, and thousands are rated in one call.

    move        p ->              swap        p -> <- q           2 for 1     p, p' -> <- q      1 for 2     p -> <-
    q, q' offcut      p = kept + cut ->            merge   two pieces of the slowest rank that are one rectangle
    replicate   p is on every rank
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recfold.plan.piece import COLUMNS_MULTIPLE, Piece
from recfold.plan.search.cut import merged
from recfold.plan.search.layout import Change, Layout

GAIN = 1e-6
"""Of the slowest rank's milliseconds, that a step has to gain."""

FEW_RANKS = 16
"""Lightest ranks that are looked at first."""

MOST_PAIRS = 40_000
"""Exchanges of two pieces for one that are rated in a step."""

SHARES = (2, 4, 8, 16)
"""Offcuts are one in so many rows or columns."""


@dataclass(frozen=True)
class Exchange:
    """M candidates: what the slowest rank gets more and the other gets more (less, where negative).

    Args:
        to_M: the other rank.
        from_MK, to_MK: rows; from_bytes_M, to_bytes_M: bytes.
    """

    to_M: np.ndarray
    from_MK: np.ndarray
    to_MK: np.ndarray
    from_bytes_M: np.ndarray
    to_bytes_M: np.ndarray


def better(layout: Layout, splits: frozenset[str]) -> Change | None:
    """The best change of the first kind that has one; None where none has."""
    slowest = layout.slowest
    own = layout.on(slowest)
    others = np.delete(np.arange(layout.task.ranks), slowest)
    if not len(own) or not len(others):
        return None
    lightest = others[np.argsort(layout.ms_N[others], kind="stable")]
    change = _merge(layout, slowest, own)
    for targets in (lightest[:FEW_RANKS], lightest[FEW_RANKS:]):
        change = change or (_move_or_swap(layout, slowest, own, targets) if len(targets) else None)
    if splits:
        change = change or _offcut(layout, slowest, own, lightest, splits)
    return change or _three(layout, slowest, own, lightest[:FEW_RANKS])


def rate(layout: Layout, slowest: int, exchange: Exchange) -> np.ndarray:
    """The slower of the two ranks after each, [M]; inf where one has no room or it gains nothing."""
    limit = layout.ms_N[slowest] * (1 - GAIN)
    rates = np.full(len(exchange.to_M), np.inf)
    fits = (layout.held_N[slowest] + exchange.from_bytes_M <= layout.room) | (exchange.from_bytes_M <= 0)
    fits &= (layout.held_N[exchange.to_M] + exchange.to_bytes_M <= layout.room) | (exchange.to_bytes_M <= 0)
    left = np.flatnonzero(fits)
    if not len(left):
        return rates
    from_ms = layout.rated.ms(layout.sums_NK[slowest] + exchange.from_MK[left])
    gains = from_ms < limit
    left, from_ms = left[gains], from_ms[gains]
    if not len(left):
        return rates
    to_ms = layout.rated.ms(layout.sums_NK[exchange.to_M[left]] + exchange.to_MK[left])
    rates[left] = np.where(to_ms < limit, np.maximum(from_ms, to_ms), np.inf)
    return rates


def _best(
    layout: Layout, slowest: int, exchange: Exchange, make: Callable[[int], Change]
) -> tuple[float, Change | None]:
    if not len(exchange.to_M):
        return np.inf, None
    rates = rate(layout, slowest, exchange)
    number = int(np.argmin(rates))
    return float(rates[number]), make(number) if np.isfinite(rates[number]) else None


def _move_or_swap(layout: Layout, slowest: int, own: np.ndarray, targets: np.ndarray) -> Change | None:
    pieces = layout.pieces
    goes, to = (grid.ravel() for grid in np.meshgrid(own, targets, indexing="ij"))
    moved = _exchange(layout, to, [goes], [])
    move = _best(layout, slowest, moved, lambda n: ([int(goes[n])], [(pieces[goes[n]], int(to[n]))]))
    theirs = np.flatnonzero(np.isin(layout.ranks_P, targets))
    gives, takes = (grid.ravel() for grid in np.meshgrid(own, theirs, indexing="ij"))
    swap = _best(
        layout,
        slowest,
        _exchange(layout, layout.ranks_P[takes], [gives], [takes]),
        lambda n: _swapped(layout, slowest, [int(gives[n])], [int(takes[n])]),
    )
    return min(move, swap, key=lambda rated: rated[0])[1]


def _three(layout: Layout, slowest: int, own: np.ndarray, targets: np.ndarray) -> Change | None:
    """Two for one, and one for two; so many as `MOST_PAIRS` allows, of the lightest ranks first."""
    first, second = (own[half] for half in np.triu_indices(len(own), 1))
    theirs = np.concatenate([layout.on(rank) for rank in targets.tolist()])
    theirs = theirs[: MOST_PAIRS // max(len(first), 1)]
    pair, takes = (grid.ravel() for grid in np.meshgrid(np.arange(len(first)), theirs, indexing="ij"))
    two = _best(
        layout,
        slowest,
        _exchange(layout, layout.ranks_P[takes], [first[pair], second[pair]], [takes]),
        lambda n: _swapped(layout, slowest, [int(first[pair[n]]), int(second[pair[n]])], [int(takes[n])]),
    )
    pairs = [layout.on(rank)[np.stack(np.triu_indices(len(layout.on(rank)), 1))] for rank in targets.tolist()]
    theirs_2 = np.concatenate(pairs, axis=1)[:, : MOST_PAIRS // max(len(own), 1)]
    gives, column = (grid.ravel() for grid in np.meshgrid(own, np.arange(theirs_2.shape[1]), indexing="ij"))
    one, other = theirs_2[:, column]
    one_for_two = _best(
        layout,
        slowest,
        _exchange(layout, layout.ranks_P[one], [gives], [one, other]),
        lambda n: _swapped(layout, slowest, [int(gives[n])], [int(one[n]), int(other[n])]),
    )
    return min(two, one_for_two, key=lambda rated: rated[0])[1]


def _exchange(layout: Layout, to_M: np.ndarray, gives: list[np.ndarray], takes: list[np.ndarray]) -> Exchange:
    rows, num_bytes = layout.rows_PK, layout.num_bytes_P
    gained = sum((rows[pieces] for pieces in takes), np.zeros(1)) - sum(rows[pieces] for pieces in gives)
    gained_bytes = sum((num_bytes[pieces] for pieces in takes), np.zeros(1)) - sum(num_bytes[own] for own in gives)
    return Exchange(to_M, gained, -gained, gained_bytes, -gained_bytes)


def _swapped(layout: Layout, slowest: int, gives: list[int], takes: list[int]) -> Change:
    to = int(layout.ranks_P[takes[0]])
    come = [(layout.pieces[n], to) for n in gives] + [(layout.pieces[n], slowest) for n in takes]
    return [*gives, *takes], come


def _merge(layout: Layout, slowest: int, own: np.ndarray) -> Change | None:
    """Pieces of the slowest rank that are one rectangle become one piece."""
    names = [layout.pieces[n].table.name for n in own.tolist()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        numbers = [n for n, own_name in zip(own.tolist(), names, strict=True) if own_name == name]
        joined = merged([layout.pieces[n] for n in numbers])
        if len(joined) == len(numbers):
            continue
        after = layout.sums_NK[slowest] - layout.rows_PK[numbers].sum(0) + layout.rated.rows(joined).sum(0)
        if layout.rated.ms(after[None])[0] < layout.ms_N[slowest] * (1 - GAIN):
            return numbers, [(piece, slowest) for piece in joined]
    return None


def offcuts(piece: Piece, splits: frozenset[str]) -> list[tuple[Piece, Piece]]:
    """(what is kept, what is cut off): one in `SHARES` of its rows or columns, where allowed."""
    found = []
    (top, bottom), (left, right) = piece.rows, piece.columns
    for share in SHARES:
        lines, width = piece.num_rows // share, piece.dim // share
        if "rows" in splits and lines:
            cut = bottom - lines
            found.append(
                (Piece(piece.table, (top, cut), piece.columns), Piece(piece.table, (cut, bottom), piece.columns))
            )
        if "columns" in splits and piece.num_rows == piece.table.rows and piece.dim % share == 0:
            cut = right - width
            if width % COLUMNS_MULTIPLE == 0:
                found.append(
                    (Piece(piece.table, piece.rows, (left, cut)), Piece(piece.table, piece.rows, (cut, right)))
                )
    return found


def _offcut(
    layout: Layout, slowest: int, own: np.ndarray, targets: np.ndarray, splits: frozenset[str]
) -> Change | None:
    cuts = [(n, kept, cut) for n in own.tolist() for kept, cut in offcuts(layout.pieces[n], splits)]
    found: tuple[float, Change | None] = (np.inf, None)
    if cuts:
        whole = np.array([n for n, _, _ in cuts])
        kept_rows = layout.rated.rows([kept for _, kept, _ in cuts])
        cut_rows = layout.rated.rows([cut for _, _, cut in cuts])
        kept_bytes = np.array([kept.num_bytes for _, kept, _ in cuts])
        cut_bytes = np.array([cut.num_bytes for _, _, cut in cuts])
        number, to = (grid.ravel() for grid in np.meshgrid(np.arange(len(cuts)), targets[:FEW_RANKS], indexing="ij"))
        exchange = Exchange(
            to,
            (kept_rows - layout.rows_PK[whole])[number],
            cut_rows[number],
            (kept_bytes - layout.num_bytes_P[whole])[number],
            cut_bytes[number],
        )

        def make(n: int) -> Change:
            old, kept, cut = cuts[number[n]]
            return [old], [(kept, slowest), (cut, int(to[n]))]

        found = _best(layout, slowest, exchange, make)
    return found[1]


def replicated_instead(layout: Layout) -> Layout | None:
    """The layout with the one table of the slowest rank on every rank that helps most; None where none does."""
    best, limit = None, layout.slowest_ms * (1 - GAIN)
    for name in sorted({layout.pieces[n].table.name for n in layout.on(layout.slowest).tolist()}):
        table = next(own for own in layout.task.tables if own.name == name)
        if layout.held_N.min() + table.num_bytes > layout.room:
            continue
        after = layout.copy()
        after.replicate_(table)
        if after.held_N.max() <= layout.room and after.slowest_ms < limit:
            best, limit = after, after.slowest_ms
    return best
