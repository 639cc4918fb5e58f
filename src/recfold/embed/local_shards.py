"""The shards that one rank holds: looked up and updated for all ranks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recfold.embed.column_kernel import ColumnKernel, needs_other_columns
from recfold.embed.exchange import Peers
from recfold.embed.kernel_choice import choose_kernels
from recfold.embed.ops import Kernel, build_kernels
from recfold.embed.pieces import Slots
from recfold.embed.resolved_table import initialise_shard_
from recfold.embed.route import Part
from recfold.embed.shard_state import ShardState
from recfold.embed.side_by_side import SideBySide
from recfold.optim import Joined, State


class LocalShards:
    """Shards of one rank, created shard by shard: no whole table that is cut is ever held.

    Args:
        slots: shards of all ranks.
        peers: this rank among the others.
        kernel: `auto`, `fbgemm` or `torch`.
        together: feature -> its batch group.
        seed: of first weights.
        waves: numbers of those of this rank's pieces that are looked up in one call.
    Raises:
        InputError: `fbgemm` cannot serve a shard.

    Attributes:
        pieces: that this rank holds.
        columns: those of row-wise rules with some columns of their rows; None where no rank has any.
        column_places: which of `pieces` these are.
    """

    def __init__(
        self, slots: Slots, peers: Peers, kernel: str, together: Mapping[str, str], seed: int, waves: Sequence[range]
    ) -> None:
        self.pieces = slots.pieces_on(peers.rank)
        self._own = tuple(waves)
        by_columns = [piece for piece in slots.pieces if needs_other_columns(piece)]
        own = {piece.local.name: piece for piece in self.pieces if not needs_other_columns(piece)}
        self._choice = choose_kernels([piece.local for piece in own.values()], kernel, peers.device)
        alike: dict[str, object] = {}
        for name, piece in own.items():
            first, *more = slots.reads[piece.table.name]
            # a part of the rows gets only the lists that have ids there
            if not more and first.feature in together and piece.shard.num_rows == piece.table.rows:
                alike[name] = (together[first.feature], first.mode == "rows")
        in_waves = [
            [own[piece.local.name] for piece in self.pieces[w.start : w.stop] if piece.local.name in own] for w in waves
        ]
        self._waves = [
            SideBySide(build_kernels({p.local.name: p.local for p in part}, alike, self._choice, peers.device))
            for part in in_waves
        ]
        self.columns = ColumnKernel(by_columns, peers) if by_columns else None
        place_of = {piece.local.name: place for place, piece in enumerate(self.pieces)}
        self._places = [
            [[place_of[table.name] for table in kernel.tables] for kernel in wave.kernels] for wave in self._waves
        ]
        self.column_places = [place_of[table.name] for table in self.columns.tables] if self.columns else []
        self._weights: dict[int, Tensor] = {}
        self._states: dict[int, State] = {}
        self._take_tensors()
        for place, piece in enumerate(self.pieces):
            initialise_shard_(self._weights[place], piece.table, piece.shard, seed)

    def look_up(self, wave: int, joined: Sequence[Joined], trains: bool) -> list[Tensor]:
        """Sums [N, D] of the bags of each own shard of a wave, with their graph where a backward follows.

        Args:
            joined: bags of every own shard.
        """
        sums: dict[int, Tensor] = {}
        with torch.set_grad_enabled(trains):
            found = self._waves[wave]([[joined[place] for place in places] for places in self._places[wave]])
        for places, rows in zip(self._places[wave], found, strict=True):
            sums |= zip(places, rows, strict=True)
        for number, place in enumerate(self.column_places):
            if place in self._own[wave]:
                assert self.columns is not None
                sums[place] = self.columns.look_up(number, joined[place])
        return [sums[place] for place in self._own[wave]]

    def update_(self, sums: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        """Update each touched row of each shard once, but for `columns`, whose update is a collective.

        Args:
            sums: of `look_up`.
            grads: of all of them.
        """
        places = [place for wave in self._places for own in wave for place in own]
        if places:
            torch.autograd.backward([sums[place] for place in places], [grads[place] for place in places])

    def shards(self) -> list[ShardState]:
        """Live weights and optimizer state."""
        return [
            ShardState(
                piece.table.name,
                piece.shard.rows,
                piece.shard.columns,
                {"weight": self._weights[place], **self._states[place]},
            )
            for place, piece in enumerate(self.pieces)
        ]

    def kernels(self) -> dict[str, str]:
        """Shard -> the kernel that serves it."""
        columns = {table.name: "torch" for table in self.columns.tables} if self.columns else {}
        return {**self._choice.kernels, **columns}

    def notes(self) -> tuple[str, ...]:
        """Lines that say which kernel serves which shards, and why."""
        if not self.column_places:
            return self._choice.notes()
        shards = f"{len(self.column_places)} shards" if len(self.column_places) > 1 else "1 shard"
        why = "columns of a row-wise rule need one float per row of the other columns"
        return (*self._choice.notes(), f"torch serves {shards}: {why}")

    def _take_tensors(self) -> None:
        held: list[tuple[Kernel | ColumnKernel, list[int]]] = [
            pair
            for wave, places in zip(self._waves, self._places, strict=True)
            for pair in zip(wave.kernels, places, strict=True)
        ]
        if self.columns is not None:
            held.append((self.columns, self.column_places))
        for kernel, places in held:
            self._weights |= zip(places, kernel.weights(), strict=True)
            self._states |= zip(places, kernel.states(), strict=True)


def join_parts(parts: Sequence[Part], dtype: torch.dtype) -> Joined:
    """Parts of one shard one after the other as one list of bags.

    Args:
        parts: at least one.
        dtype: of weights.
    """
    values = torch.cat([part.ids for part in parts]) if len(parts) > 1 else parts[0].ids
    weights = None
    if any(part.weights is not None for part in parts):
        weights = torch.cat(
            [torch.ones_like(p.ids, dtype=dtype) if p.weights is None else p.weights.to(dtype) for p in parts]
        )
    if all(part.lengths is None for part in parts):
        return Joined(values, None, weights)
    lengths = torch.cat([torch.ones_like(p.ids, dtype=torch.int32) if p.lengths is None else p.lengths for p in parts])
    offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=values.device)
    torch.cumsum(lengths, 0, out=offsets[1:])
    return Joined(values, offsets, weights)
