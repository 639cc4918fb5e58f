"""What every search starts from: the pieces of a task as arrays, and a way to place them that fits into memory.

Searches that do not choose splits themselves get pieces that are cut already, by one rule: where splits are allowed,
a table that alone costs more than an even share of a rank is cut until its parts do not, the way that costs least in
all; one that needs more memory than a rank has is cut until it fits.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.fits import no_packing, too_large, too_much
from recfold.plan.piece import Piece
from recfold.plan.search.cut import halves, smallest, ways_below
from recfold.plan.search.packing import exchanged, pack
from recfold.plan.search.place import place_in_order
from recfold.plan.task import Assignment, Split, Task
from recfold.spec import InputError

CUTTING_ROUNDS = 24
"""Times that the largest pieces are halved where no packing is found."""


@dataclass(frozen=True)
class Board:
    """Pieces to be placed.

    Args:
        pieces: that tile the tables that are not replicated.
        rows_PK: of the cost.
        num_bytes_P: int64.
        single_ms_P: what each costs alone on a rank.
        shared_K: rows of what replicated tables put on every rank, added up.
        room: bytes that each rank has for pieces; inf where there is no bound.
        fallback_P: ranks of the pieces that fit into memory, whatever they cost.
    """

    task: Task
    cost: Cost
    pieces: tuple[Piece, ...]
    rows_PK: np.ndarray
    num_bytes_P: np.ndarray
    single_ms_P: np.ndarray
    shared_K: np.ndarray
    room: float
    fallback_P: np.ndarray
    replicated: tuple[str, ...] = ()

    @property
    def ranks(self) -> int:
        return self.task.ranks

    @property
    def dearest_first(self) -> np.ndarray:
        """Pieces by what they cost alone, int64 [P]."""
        return np.argsort(-self.single_ms_P, kind="stable")

    def sums(self, ranks_P: np.ndarray) -> np.ndarray:
        """Of the pieces on each rank, float64 [N, K]."""
        sums = np.repeat(self.shared_K[None], self.ranks, axis=0)
        np.add.at(sums, ranks_P, self.rows_PK)
        return sums

    def held(self, ranks_P: np.ndarray) -> np.ndarray:
        """Bytes of pieces on each rank, float64 [N]."""
        return np.bincount(ranks_P, weights=self.num_bytes_P, minlength=self.ranks)

    def fits(self, ranks_P: np.ndarray) -> bool:
        return bool(self.held(ranks_P).max(initial=0) <= self.room)

    def slowest_ms(self, ranks_P: np.ndarray) -> float:
        return float(self.cost.ms(self.sums(ranks_P)).max())

    def fitting(self, ranks_P: np.ndarray) -> np.ndarray:
        """A placement, mended by as few exchanges as it takes where a rank holds too much."""
        if self.fits(ranks_P):
            return ranks_P
        mended = exchanged(self.num_bytes_P, ranks_P, self.ranks, self.room)
        return self.fallback_P if mended is None else mended

    def greedy(self, orders_BP: np.ndarray) -> np.ndarray:
        """Each order placed on the ranks that are cheapest with each piece (see `place_in_order`); the best that fits,
        or the first, mended, where none does."""
        placed = place_in_order(
            self.cost,
            self.rows_PK[orders_BP],
            self.num_bytes_P[orders_BP],
            np.full(self.ranks, self.room),
            np.repeat(self.shared_K[None], self.ranks, axis=0),
        )
        best = int(np.argmin(np.where(placed.fits_B, placed.ms_BN.max(1), np.inf)))
        ranks_P = np.zeros(len(self.pieces), np.int64)
        ranks_P[orders_BP[best]] = placed.ranks_BP[best]
        return self.fitting(ranks_P)

    def cut(self, number: int, parts: Sequence[Piece]) -> "Board | None":
        """With one of the pieces in parts; None where rounding up their bytes is too much for its rank."""
        rows = self.cost.rows(parts)
        own_bytes = np.array([part.num_bytes for part in parts], np.int64)
        place = [number] * len(parts)
        finer = replace(
            self,
            pieces=(*self.pieces[:number], *parts, *self.pieces[number + 1 :]),
            rows_PK=np.insert(np.delete(self.rows_PK, number, 0), place, rows, 0),
            num_bytes_P=np.insert(np.delete(self.num_bytes_P, number), place, own_bytes),
            single_ms_P=np.insert(np.delete(self.single_ms_P, number), place, self.cost.ms(rows)),
            fallback_P=np.insert(np.delete(self.fallback_P, number), place, self.fallback_P[number]),
        )
        return finer if finer.fits(finer.fallback_P) else None

    def assignment(self, ranks_P: np.ndarray) -> Assignment:
        """The answer of a search."""
        return Assignment(self.pieces, self.fitting(ranks_P).astype(np.int64), self.replicated)


def board_of(
    task: Task, cost: Cost, pieces: Sequence[Piece], splits: Collection[Split], replicated: tuple[str, ...] = ()
) -> Board:
    """Pieces as a board; cut further where they may be and no packing is found.

    Raises:
        InputError: they do not fit.
    """
    copies = [table for table in task.tables if table.name in replicated]
    memory = task.memory_bytes
    room = float("inf") if memory is None else memory - float(sum(table.num_bytes for table in copies))
    found = list(pieces)
    for left in range(CUTTING_ROUNDS, -1, -1):
        num_bytes = np.array([piece.num_bytes for piece in found], np.int64)
        finer = _largest_halved(found, splits) if left else None
        packing, proven = pack(num_bytes, task.ranks, room, complete=finer is None)
        if packing is not None:
            break
        if finer is None:
            raise no_packing(task, memory or 0, found[int(np.argmax(num_bytes))], proven)
        found = finer
    rows = cost.rows([*found, *(table.replica(task.ranks) for table in copies)])
    own = rows[: len(found)]
    shared = rows[len(found) :].sum(0)
    assert packing is not None
    return Board(task, cost, tuple(found), own, num_bytes, cost.ms(own), shared, room, packing, replicated)


def prepared(task: Task, cost: Cost, *, even: bool = True) -> Board:
    """The pieces of a task.

    Args:
        even: cut what costs more than an even share, where allowed; else only what is larger than memory.
    Raises:
        InputError: an impossible task: which table does not fit, how much is missing, and what would help.
    """
    check_possible(task)
    pieces = [table.whole() for table in task.tables]
    if task.memory_bytes is not None:
        pieces = _cut_to_memory(task, cost, pieces, task.memory_bytes)
    if not task.splits or task.ranks == 1:
        return board_of(task, cost, pieces, task.splits)
    share = _even_share_ms(task, cost, pieces)
    ways = [pieces, _cut_to_share(task, cost, pieces, share)]
    # memory that is nearly full may have room for the one and not for the other: every search tries both
    for number in (1, 0) if even else (0, 1):
        try:
            board = board_of(task, cost, ways[number], task.splits)
        except InputError:
            continue
        return _replicated_above(board, share) if even and task.splits == {"replicate"} else board
    return board_of(task, cost, pieces, task.splits)  # which raises


def check_possible(task: Task) -> None:
    """Whether tables fit one by one, cut as far as allowed, and by their sum.

    Raises:
        InputError: they do not.
    """
    if task.memory_bytes is None:
        return
    pieces = [smallest(table, task.splits) for table in task.tables]
    largest = max(pieces, key=lambda piece: piece.num_bytes, default=None)
    if largest is not None and largest.num_bytes > task.memory_bytes:
        raise too_large(task, largest, task.memory_bytes)
    if sum(table.num_bytes for table in task.tables) > task.ranks * task.memory_bytes:
        raise too_much(task, task.memory_bytes)


def _cut_to_memory(task: Task, cost: Cost, pieces: Sequence[Piece], memory_bytes: int) -> list[Piece]:
    found: list[Piece] = []
    for piece in pieces:
        most = 2 * -(-piece.num_bytes // memory_bytes) + 1
        found.extend(_cheapest_cut(task, cost, piece, lambda own: own.num_bytes <= memory_bytes, most))
    return found


def _cut_to_share(task: Task, cost: Cost, pieces: Sequence[Piece], share_ms: float) -> list[Piece]:
    found: list[Piece] = []
    single = cost.ms(cost.rows(pieces))
    for piece, own_ms in zip(pieces, single.tolist(), strict=True):
        if own_ms <= share_ms:
            found.append(piece)
            continue
        found.extend(
            _cheapest_cut(task, cost, piece, lambda own: float(cost.ms(cost.rows([own]))[0]) <= share_ms, task.ranks)
        )
    return found


def _cheapest_cut(
    task: Task, cost: Cost, piece: Piece, is_small: Callable[[Piece], bool], most: int
) -> tuple[Piece, ...]:
    if is_small(piece):
        return (piece,)
    ways = ways_below(piece, task.splits, is_small, most)
    return min(ways, key=lambda way: float(cost.ms(cost.rows(way)).sum()), default=(piece,))


def _even_share_ms(task: Task, cost: Cost, pieces: Sequence[Piece]) -> float:
    """What a rank costs on average where whole pieces are placed greedily and memory is not looked at."""
    rows = cost.rows(pieces)
    order = np.argsort(-cost.ms(rows), kind="stable")[None]
    free = np.full(task.ranks, np.inf)
    nothing = np.zeros((task.ranks, rows.shape[1]))
    return float(place_in_order(cost, rows[order], np.zeros(order.shape), free, nothing).ms_BN.mean())


def _largest_halved(pieces: Sequence[Piece], splits: Collection[Split]) -> list[Piece] | None:
    """A tenth of them, the largest that can be, cut in two; None where none can be."""
    by_size = sorted(range(len(pieces)), key=lambda number: -pieces[number].num_bytes)
    ways = ((number, halves(pieces[number], splits)) for number in by_size)
    cut: dict[int, tuple[Piece, Piece]] = {}
    for number, options in ways:
        if options and len(cut) < max(len(pieces) // 10, 1):
            cut[number] = options[-1]
    if not cut:
        return None
    return [part for number, piece in enumerate(pieces) for part in cut.get(number, (piece,))]


def _replicated_above(board: Board, share_ms: float) -> Board:
    """Tables that cost more than an even share go to every rank, dearest first, as far as memory allows."""
    task = board.task
    dear = [board.pieces[number].table for number in board.dearest_first if board.single_ms_P[number] > share_ms]
    for table in dear:
        names = (*board.replicated, table.name)
        rest = [own.whole() for own in task.tables if own.name not in names]
        if task.memory_bytes is not None:
            room = task.memory_bytes - sum(own.num_bytes for own in task.tables if own.name in names)
            sizes = np.array([piece.num_bytes for piece in rest], np.int64)
            if room < 0 or (rest and pack(sizes, task.ranks, room)[0] is None):
                continue
        board = board_of(task, board.cost, rest, (), names)
    return board
