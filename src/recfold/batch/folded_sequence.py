"""FoldedSequence: rows of sequences, one sequence a window of them, held once per distinct window."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recfold.batch.checks import check_devices, check_vector
from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded import WORTH, Folded, Windows, as_folded
from recfold.batch.window_maps import WindowMaps
from recfold.spec import InputError


@dataclass(frozen=True)
class FoldedSequence:
    """Sequence u is `rows[start[u] : start[u] + length[u]]`; sample b has sequence `inverse[b]`. Windows may overlap.

    Args:
        rows: [V, D], for example one embedding per merged position.
        start, length: int64 [U].
        index: of U distinct sequences.
    Raises:
        InputError: start and length do not fit the index or each other.

    Example:
        >>> rows = torch.tensor([[1.0], [2.0], [4.0]])
        >>> sequence = FoldedSequence(rows, torch.tensor([0, 1]), torch.tensor([1, 2]), FoldIndex.identity(2))
        >>> padded, mask = sequence.padded()
        >>> padded.squeeze(-1).tolist(), mask.tolist()
        ([[1.0, 0.0], [2.0, 4.0]], [[True, False], [True, True]])
        >>> sequence.mean().flatten().tolist()
        [1.0, 3.0]
    """

    rows: Tensor
    start: Tensor
    length: Tensor
    index: FoldIndex
    # Made at the first use and shared by the sequences that `with_rows` derives.
    _maps: list[WindowMaps] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.rows.dim() == 0:
            raise InputError("rows of a FoldedSequence need an axis", got="a single number")
        for name, tensor in (("start", self.start), ("length", self.length)):
            check_vector("a FoldedSequence", name, tensor)
            if len(tensor) != self.index.num_distinct:
                raise InputError(
                    f"{name} of a FoldedSequence does not fit its index",
                    got=len(tensor),
                    expected=f"{self.index.num_distinct}, one per distinct sequence",
                )
        inverse = self.index.inverse
        check_devices("a FoldedSequence", rows=self.rows, start=self.start, length=self.length, inverse=inverse)

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def num_distinct(self) -> int:
        return self.index.num_distinct

    def with_rows(self, rows: Tensor) -> "FoldedSequence":
        """The same windows over other rows [V, ...], such as another feature of the group or a projection.

        Cheaper than a new FoldedSequence: what was computed about the windows is shared.

        Raises:
            InputError: another number of rows.
        """
        if rows.dim() == 0 or len(rows) != len(self.rows):
            raise InputError(
                "other rows of a FoldedSequence must be as many",
                got=f"shape {list(rows.shape)}",
                expected=f"{len(self.rows)} rows",
            )
        self._window_maps()
        return self._over(rows, self._maps)

    def padded(self, max_length: int | None = None) -> tuple[Any, Any]:
        """The samples' sequences as a rectangle, each from its first row on, then zeros.

        Args:
            max_length: width of the rectangle; that of the longest sequence where not given.
        Returns:
            [B, L, D], and the mask [B, L], True where a row is real; Folded where sequences repeat, and as Windows
            where positions do.
        Raises:
            InputError: a sequence is longer than `max_length`.
        """
        maps, width = self._window_maps(), self._width(max_length)
        _, mask_UL = maps.padded(width)
        mask = as_folded(mask_UL, self.index)
        if isinstance(mask, Folded) and len(self.rows) < WORTH * mask_UL.numel():
            extended = torch.cat([self.rows, self.rows.new_zeros(1, *self.rows.shape[1:])])
            return Windows(extended, maps.sources(width), self.index, width), mask
        return as_folded(self.padded_distinct(width)[0], self.index), mask

    def padded_distinct(self, max_length: int | None = None) -> tuple[Tensor, Tensor]:
        """The distinct sequences as a rectangle, each from its first row on, then zeros.

        Args:
            max_length: width of the rectangle; that of the longest sequence where not given.
        Returns:
            [U, L, D], differentiable with a backward in fixed order, and the mask [U, L], True where a row is real.
        Raises:
            InputError: a sequence is longer than `max_length`.
        """
        copy, mask_UL = self._window_maps().padded(self._width(max_length))
        return copy(self.rows).view(*mask_UL.shape, *self.rows.shape[1:]), mask_UL

    def _width(self, max_length: int | None) -> int:
        longest = self._window_maps().longest()
        if max_length is not None and longest > max_length:
            raise InputError(
                "a sequence is longer than the padded width",
                got=longest,
                expected=f"at most {max_length}",
                todo="truncate the feature (transform 'truncate') or raise the width",
            )
        return longest if max_length is None else max_length

    def sum(self) -> Tensor | Folded:
        """Sum of each sequence's rows, [B, D], Folded where sequences repeat; zeros where one is empty."""
        return as_folded(self._window_maps().pooled()(self.rows), self.index)

    def mean(self) -> Tensor | Folded:
        """Mean of each sequence's rows, [B, D], Folded where sequences repeat; zeros where one is empty."""
        total = self._window_maps().pooled()(self.rows)
        count_U = self.length.clamp(min=1).to(self.rows.dtype)
        return as_folded(total / count_U.view(-1, *(1,) * (self.rows.dim() - 1)), self.index)

    def unfold(self) -> "FoldedSequence":
        """Every sample's sequence written out, under the identity index; the identity returns itself.

        Rows are selected directly, without padding; differentiable with a backward in fixed order.
        """
        if self.index.is_identity:
            return self
        copy, maps = self._window_maps().unfolded()
        return FoldedSequence(copy(self.rows), maps.start, maps.length, maps.index)._over(None, [maps])

    def _window_maps(self) -> WindowMaps:
        if not self._maps:
            self._maps.append(WindowMaps(self.start, self.length, self.index, len(self.rows)))
        return self._maps[0]

    def _over(self, rows: Tensor | None, maps: list[WindowMaps]) -> "FoldedSequence":
        """The same windows with these maps."""
        sequence = FoldedSequence(self.rows if rows is None else rows, self.start, self.length, self.index)
        object.__setattr__(sequence, "_maps", maps)
        return sequence


def padded_reference(sequence: FoldedSequence) -> tuple[Tensor, Tensor]:
    """The slow twin of `FoldedSequence.padded_distinct`: one sequence at a time."""
    lengths = sequence.length.tolist()
    width = max(lengths, default=0)
    padded = torch.zeros((len(lengths), width, *sequence.rows.shape[1:]), dtype=sequence.rows.dtype)
    mask = torch.zeros((len(lengths), width), dtype=torch.bool)
    for u, (start, length) in enumerate(zip(sequence.start.tolist(), lengths, strict=True)):
        padded[u, :length] = sequence.rows[start : start + length]
        mask[u, :length] = True
    return padded, mask


def sequence_unfold_reference(sequence: FoldedSequence) -> FoldedSequence:
    """The slow twin of `FoldedSequence.unfold`: one sample at a time."""
    index = sequence.index
    used = range(index.num_samples) if index.inverse is None else index.inverse.tolist()
    rows = [sequence.rows[:0]]
    start: list[int] = []
    length: list[int] = []
    for u in used:
        first, size = int(sequence.start[u]), int(sequence.length[u])
        start.append(sum(length))
        length.append(size)
        rows.append(sequence.rows[first : first + size])
    return FoldedSequence(
        torch.cat(rows), torch.tensor(start).long(), torch.tensor(length).long(), FoldIndex.identity(len(start))
    )
