"""Messages of a step: sizes, then ids with lengths and weights, then rows there, then their gradients back.

sizes   int32  status | ids, bags, weighted? of each (shard, read) | ids of each replicated table
        (reads with the same bags in the same rows of two tables are one: see `layout.py`)
ids     int64 ids of every slot | int64 touched rows of replicated tables | weights | int32 lengths
rows    each shard's rows, one after the other, as the codec writes them
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from recfold.comm import Message, RowFormat, Wire, aligned
from recfold.embed.pieces import Piece
from recfold.embed.route import Part

FAILED, EVALUATES, TRAINS = 0, 1, 2
"""Status of a rank at a step."""


RowType = tuple[int, torch.dtype]
"""Dim and dtype of the rows of a table."""


@dataclass(frozen=True)
class Peers:
    """This rank among the ranks of a group.

    Args:
        group: None for the default group.
        rank, ranks: of the group.
        device: of messages.
        wire: counts what is packed to be sent.
    """

    group: dist.ProcessGroup | None
    rank: int
    ranks: int
    device: torch.device
    wire: Wire

    def message(self, kind: str, messages: Sequence[Tensor], expected: Sequence[int]) -> Message:
        """To each rank a message of one kind (any type), and so many bytes from each."""
        return self.message_of_kinds(kind, [[(kind, message)] for message in messages], expected)

    def message_of_kinds(
        self, name: str, messages: Sequence[Sequence[tuple[str, Tensor]]], expected: Sequence[int]
    ) -> Message:
        """To each rank its parts of several kinds, one after the other; nothing to and from oneself."""
        to, parts = [0] * self.ranks, []
        for rank, message in enumerate(messages):
            if rank == self.rank:
                continue
            for kind, part in message:
                num_bytes = part.numel() * part.element_size()
                if num_bytes:
                    parts.append(part.contiguous().view(-1).view(torch.uint8))
                    self.wire.add(kind, num_bytes)
                    to[rank] += num_bytes
        joined = torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8, device=self.device)
        return Message(joined, to, self._from_others(expected), name)

    def message_of_rows(
        self,
        kind: str,
        rows: Sequence[Sequence[Tensor]],
        row_format: RowFormat,
        types: Sequence[Sequence[RowType]],
        counts: Sequence[Sequence[int]],
    ) -> Message:
        """To each rank rows [N, D] of several tables.

        Args:
            types, counts: of the rows that come from each rank.
        """
        to = [0 if rank == self.rank else sum(_bytes_of(row_format, own)) for rank, own in enumerate(rows)]
        message = torch.empty(sum(to), dtype=torch.uint8, device=self.device)
        for own, part in zip(rows, message.split(to), strict=True):
            if len(part):
                write_rows_(part, own, row_format)
        self.wire.add(kind, sum(to))
        expected = [sum(rows_bytes(row_format, *own)) for own in zip(types, counts, strict=True)]
        return Message(message, to, self._from_others(expected), kind)

    def _from_others(self, expected: Sequence[int]) -> list[int]:
        return [0 if rank == self.rank else num_bytes for rank, num_bytes in enumerate(expected)]


@dataclass(frozen=True, eq=False)
class Request:
    """What a rank asks of another one: a part per slot, and rows of replicated tables that it will update."""

    parts: Sequence[Part]
    touched: Sequence[Tensor]


def sizes_message(status: int, request: Request, device: torch.device) -> Tensor:
    """int32."""
    numbers = [status]
    for part in request.parts:
        numbers += (len(part.ids), part.num_bags, int(part.weights is not None))
    numbers += (len(rows) for rows in request.touched)
    return torch.tensor(numbers, dtype=torch.int32).to(device)


def num_sizes(num_parts: int, num_touched: int) -> int:
    """Numbers in a sizes message."""
    return 1 + 3 * num_parts + num_touched


@dataclass(frozen=True)
class Sizes:
    """What a rank said in its sizes message.

    Args:
        status: of the rank.
        parts: (ids, bags, weighted) of each slot.
        touched: ids of each replicated table.
    """

    status: int
    parts: tuple[tuple[int, int, bool], ...]
    touched: tuple[int, ...]


def read_sizes(message: Tensor, num_parts: int) -> Sizes:
    """The slow work of a message: it waits for the device."""
    status, *numbers = aligned(message, torch.int32).tolist()
    counts = numbers[: 3 * num_parts]
    parts = tuple((ids, bags, bool(weighted)) for ids, bags, weighted in zip(*[iter(counts)] * 3, strict=True))
    return Sizes(status, parts, tuple(numbers[3 * num_parts :]))


def request_parts(request: Request) -> list[tuple[str, Tensor]]:
    """Parts of an ids message with their kinds."""
    ids = [*(part.ids for part in request.parts), *request.touched]
    weights = [part.weights for part in request.parts if part.weights is not None]
    lengths = [part.lengths for part in request.parts if part.lengths is not None]
    return [(kind, own) for kind, parts in (("ids", ids), ("weights", weights), ("lengths", lengths)) for own in parts]


def request_bytes(sizes: Sizes, slots: Sequence[tuple[Piece, str]]) -> int:
    """Bytes of the ids message that a sizes message announces.

    Args:
        slots: piece and mode of each part.
    """
    total = 8 * sum(sizes.touched)
    for (ids, bags, weighted), (piece, mode) in zip(sizes.parts, slots, strict=True):
        total += 8 * ids + weighted * ids * piece.local.out_dtype.itemsize + (4 * bags if mode != "rows" else 0)
    return total


def read_request(message: Tensor, sizes: Sizes, slots: Sequence[tuple[Piece, str]]) -> Request:
    """The parts of an ids message again."""
    num_ids = [ids for ids, _, _ in sizes.parts] + list(sizes.touched)
    reached = 8 * sum(num_ids)
    ids = aligned(message[:reached], torch.int64).split(num_ids)
    weights: list[Tensor | None] = []
    for (count, _, weighted), (piece, _) in zip(sizes.parts, slots, strict=True):
        stop = reached + weighted * count * piece.local.out_dtype.itemsize
        weights.append(aligned(message[reached:stop], piece.local.out_dtype) if weighted else None)
        reached = stop
    num_bags = [bags for (_, bags, _), (_, mode) in zip(sizes.parts, slots, strict=True) if mode != "rows"]
    lengths = iter(aligned(message[reached:], torch.int32).split(num_bags))
    parts = [
        Part(own, None if mode == "rows" else next(lengths), weight)
        for own, weight, (_, mode) in zip(ids[: len(slots)], weights, slots, strict=True)
    ]
    return Request(parts, ids[len(slots) :])


def rows_bytes(row_format: RowFormat, types: Sequence[RowType], counts: Sequence[int]) -> list[int]:
    """Bytes of so many rows of each type."""
    return [rows * row_format.row_bytes(*own) for own, rows in zip(types, counts, strict=True)]


def write_rows_(message: Tensor, rows: Sequence[Tensor], row_format: RowFormat) -> None:
    """Write rows [N, D] of several tables one after the other."""
    for part, own in zip(rows, message.split(_bytes_of(row_format, rows)), strict=True):
        row_format.encode_(own.view(len(part), row_format.row_bytes(part.shape[1], part.dtype)), part)


def read_rows(message: Tensor, row_format: RowFormat, types: Sequence[RowType], counts: Sequence[int]) -> list[Tensor]:
    """What `write_rows_` wrote."""
    return [
        row_format.decode(own.view(rows, row_format.row_bytes(*kind)), *kind)
        for own, kind, rows in zip(message.split(rows_bytes(row_format, types, counts)), types, counts, strict=True)
    ]


def _bytes_of(row_format: RowFormat, rows: Sequence[Tensor]) -> list[int]:
    return [len(part) * row_format.row_bytes(part.shape[1], part.dtype) for part in rows]
