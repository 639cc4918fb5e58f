"""Column shards of tables whose update rule looks at whole rows: one float per touched row is added up."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.linalg import vector_norm

from recfold.comm import Message, aligned, all_to_all
from recfold.embed.exchange import Peers
from recfold.embed.pieces import Piece
from recfold.embed.torch_kernel import TorchKernel
from recfold.optim import (
    SPARSE_OPTIMIZERS,
    Joined,
    State,
    decay_,
    find_touched,
    sum_touched,
    update_rows_,
    update_with_norms_,
)

BY_ROW = SPARSE_OPTIMIZERS["rowwise_adagrad"]


def needs_other_columns(piece: Piece) -> bool:
    """Whether a shard cannot be updated without the others of its rows."""
    return not piece.is_whole and piece.table.optimizer.name == BY_ROW.name


class ColumnKernel:
    """Column shards of one rank; their update is a collective, which every rank of the group has to join.

    All shards of a row see the same ids, so each knows without asking which rows the others have touched.

    Args:
        pieces: of all ranks, that need other columns.
        peers: this rank among the others.
    """

    name = "torch"

    def __init__(self, pieces: Sequence[Piece], peers: Peers) -> None:
        self._pieces = tuple(piece for piece in pieces if piece.shard.rank == peers.rank)
        self.tables = tuple(piece.local for piece in self._pieces)
        self._kernel = TorchKernel(self.tables, peers.device)
        self._peers = peers
        # (from, to): what a shard's owner has to know of another one, in an order that all ranks share
        self._links = tuple(
            (source, target)
            for source in pieces
            for target in pieces
            if source.table.name == target.table.name and source.block != target.block and _shared_rows(source, target)
        )

    def weights(self) -> list[Tensor]:
        return self._kernel.weights()

    def states(self) -> list[State]:
        return self._kernel.states()

    def look_up(self, place: int, joined: Joined) -> Tensor:
        """Sums [N, D] of the bags of one shard."""
        return self._kernel.look_up(place, joined)

    def update_(self, grads: Sequence[Tensor], joined: Sequence[Joined]) -> None:
        """Sum gradients by row, exchange the sums of their squares, update each row once."""
        found = find_touched(joined, [own.rows for own in self.tables]) if joined else []
        weights, states = self.weights(), self.states()
        sums: list[Tensor] = []
        for place, touched in enumerate(found):
            grad_TD = sum_touched(grads[place].contiguous(), touched, 0, len(touched.rows_T))
            if self.tables[place].settings.weight_decay != 0.0:
                old_TD = weights[place].index_select(0, touched.rows_T).to(grad_TD.dtype)
                decay_(old_TD, grad_TD, self.tables[place].settings)
            sums.append(grad_TD)
        rows = [touched.rows_T for touched in found]
        squares = [vector_norm(grad_TD, dim=1).square_() for grad_TD in sums]
        received = all_to_all(self._squares_message(rows, squares), self._peers.group, self._peers.wire).wait()
        squares = self._added(rows, squares, received)
        for place, (rows_T, grad_TD, square_T) in enumerate(zip(rows, sums, squares, strict=True)):
            dim = self._pieces[place].table.dim
            rule = dataclasses.replace(BY_ROW, update_=partial(update_with_norms_, square_T=square_T, dim=dim))
            update_rows_(weights[place], states[place], rows_T, grad_TD, rule, self.tables[place].settings)

    def _squares_message(self, rows: Sequence[Tensor], squares: Sequence[Tensor]) -> Message:
        """Sums of squares for the shards of other ranks that hold other columns of the rows.

        Args:
            rows: touched rows of each shard of this rank, sorted.
            squares: of these columns.
        """
        peers, place_of = self._peers, {piece: place for place, piece in enumerate(self._pieces)}
        messages: list[list[Tensor]] = [[] for _ in range(peers.ranks)]
        expected = [0] * peers.ranks
        for source, target in self._links:
            if source.shard.rank == target.shard.rank:
                continue
            if source.shard.rank == peers.rank:
                start, stop = _span(rows[place_of[source]], source, _shared_rows(source, target))
                messages[target.shard.rank].append(squares[place_of[source]][start:stop])
            elif target.shard.rank == peers.rank:
                start, stop = _span(rows[place_of[target]], target, _shared_rows(source, target))
                expected[source.shard.rank] += (stop - start) * source.table.out_dtype.itemsize
        parts = [[("norms", part) for part in own] for own in messages]
        return peers.message_of_kinds("norms", parts, expected)

    def _added(self, rows: Sequence[Tensor], squares: Sequence[Tensor], received: Sequence[Tensor]) -> list[Tensor]:
        """Each shard's [T] added to those of the other columns, in the order of column blocks on every shard."""
        place_of = {piece: place for place, piece in enumerate(self._pieces)}
        reached = [0] * len(received)
        parts: dict[Piece, list[tuple[int, int, int, Tensor]]] = {
            piece: [(piece.block, 0, len(rows_T), square_T)]
            for piece, rows_T, square_T in zip(self._pieces, rows, squares, strict=True)
        }
        for source, target in self._links:
            if target.shard.rank != self._peers.rank:
                continue
            shared, rank = _shared_rows(source, target), source.shard.rank
            start, stop = _span(rows[place_of[target]], target, shared)
            if rank == self._peers.rank:
                low, high = _span(rows[place_of[source]], source, shared)
                own = squares[place_of[source]][low:high]
            else:
                dtype = source.table.out_dtype
                end = reached[rank] + (stop - start) * dtype.itemsize
                own, reached[rank] = aligned(received[rank][reached[rank] : end], dtype), end
            parts[target].append((source.block, start, stop, own))
        totals = []
        for piece, square_T in zip(self._pieces, squares, strict=True):
            total_T = torch.zeros_like(square_T)
            for _, start, stop, own in sorted(parts[piece], key=lambda part: part[:2]):
                total_T[start:stop] += own
            totals.append(total_T)
        return totals


def _shared_rows(one: Piece, other: Piece) -> range:
    """Rows of the table that two shards both hold columns of; false where there are none."""
    return range(max(one.shard.rows[0], other.shard.rows[0]), min(one.shard.rows[1], other.shard.rows[1]))


def _span(rows_T: Tensor, piece: Piece, shared: range) -> tuple[int, int]:
    """Which touched rows of a shard are in a range of rows of the table."""
    first = piece.shard.rows[0]
    bounds = torch.tensor([shared.start - first, shared.stop - first], dtype=rows_T.dtype, device=rows_T.device)
    start, stop = torch.searchsorted(rows_T, bounds).tolist()
    return start, stop
