"""Tensors that several ranks hold in pieces, and reading any box of one back: what makes a plan free to change.

A piece is a box of a whole tensor: where it starts and its values. Pieces of a tensor cover it, once.

    item.weight [6, 4]     rank 0: start (0, 0), shape (3, 4)     rank 1: start (3, 0), shape (3, 4)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from recfold.spec import InputError


@dataclass(frozen=True, eq=False)
class Piece:
    """What one rank holds of a tensor.

    Args:
        values: the box.
        shape: of the whole tensor.
        start: first index of the box along each axis.
    """

    values: Tensor
    shape: tuple[int, ...]
    start: tuple[int, ...]


@dataclass(frozen=True)
class StoredPiece:
    """A box of a tensor in a file.

    Args:
        file: safetensors.
        key: its name there.
        start, shape: of the box.
    """

    file: Path
    key: str
    start: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor on disk, in pieces."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[StoredPiece, ...]

    def box(self, start: Sequence[int], shape: Sequence[int]) -> Tensor:
        """A box of it; only what overlaps is read.

        Raises:
            InputError: the pieces do not cover it.
        """
        found = torch.empty(tuple(shape), dtype=self.dtype)
        left = found.numel()
        for piece in self.pieces:
            low = [max(a, b) for a, b in zip(start, piece.start, strict=True)]
            high = [min(a + n, b + m) for a, n, b, m in zip(start, shape, piece.start, piece.shape, strict=True)]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            own = tuple(slice(a - b, c - b) for a, c, b in zip(low, high, piece.start, strict=True))
            there = tuple(slice(a - b, c - b) for a, c, b in zip(low, high, start, strict=True))
            with safe_open(piece.file, framework="pt") as file:
                part = file.get_slice(piece.key)[own] if own else file.get_tensor(piece.key)
            found[there] = part
            left -= part.numel()
        if left:
            raise InputError("a checkpoint's pieces do not cover a tensor", got=f"{left} entries missing")
        return found


class StoredTensors(Mapping[str, Tensor]):
    """Tensors in pieces by name; each is read when it is asked for.

    Example:
        stored["item.weight"]                               # all of it
        stored.stored["item.weight"].box((100, 0), (50, 16))  # rows 100 to 150
    """

    def __init__(self, stored: Mapping[str, StoredTensor]) -> None:
        self.stored = dict(stored)

    def __getitem__(self, name: str) -> Tensor:
        own = self.stored[name]
        return own.box([0] * len(own.shape), own.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def described(piece: Piece, file: str, key: str) -> dict[str, Any]:
    """What a manifest says of a piece."""
    return {"file": file, "key": key, "start": list(piece.start), "shape": list(piece.values.shape)}


def stored_tensors(folder: Path, said: Mapping[str, Any]) -> StoredTensors:
    """What a manifest's `pieces` say: name -> {shape, dtype, pieces}."""
    return StoredTensors(
        {
            name: StoredTensor(
                tuple(entry["shape"]),
                getattr(torch, entry["dtype"]),
                tuple(
                    StoredPiece(folder / p["file"], p["key"], tuple(p["start"]), tuple(p["shape"]))
                    for p in entry["pieces"]
                ),
            )
            for name, entry in said.items()
        }
    )
