"""The linear maps from the rows of window sequences to padded, pooled and unfolded rows, each made once."""

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.jagged import offsets_of, window_positions
from recfold.batch.segmented_sum import SegmentedSum


class WindowMaps:
    """Maps of U windows over R rows, kept for all features of a group: their rows differ, their windows do not.

    Args:
        start, length: int64 [U].
        index: over the U windows.
        num_rows: R.
    """

    def __init__(self, start: Tensor, length: Tensor, index: FoldIndex, num_rows: int) -> None:
        self.start = start
        self.length = length
        self.index = index
        self.num_rows = num_rows
        self._positions: tuple[Tensor, Tensor] | None = None
        self._longest: int | None = None
        self._padded: dict[int, tuple[SegmentedSum, Tensor]] = {}
        self._sources: dict[int, SegmentedSum] = {}
        self._pooled: SegmentedSum | None = None
        self._unfolded: tuple[SegmentedSum, WindowMaps] | None = None

    def longest(self) -> int:
        """Length of the longest window, 0 where there are none."""
        if self._longest is None:
            self._longest = int(self.length.max()) if len(self.length) else 0
        return self._longest

    def padded(self, width: int) -> tuple[SegmentedSum, Tensor]:
        """Rows -> [U * width] rows, zeros after the end of a window; and the mask [U, width] of real rows."""
        if width not in self._padded:
            mask = torch.arange(width, device=self.length.device) < self.length.unsqueeze(1)
            positions_P, _ = self._window_positions()
            full = len(positions_P) == mask.numel()
            offsets = None if full else offsets_of(mask.flatten().to(torch.int64))
            self._padded[width] = SegmentedSum(positions_P, self.num_rows, offsets), mask
        return self._padded[width]

    def sources(self, width: int) -> SegmentedSum:
        """Rows and one more (for what lies after the end of a window) -> [U * width] rows, each copied once."""
        if width not in self._sources:
            mask = torch.arange(width, device=self.length.device) < self.length.unsqueeze(1)
            source_UL = self.start.unsqueeze(1) + torch.arange(width, device=self.start.device)
            source_UL = source_UL.masked_fill(~mask, self.num_rows)
            self._sources[width] = SegmentedSum(source_UL.flatten(), self.num_rows + 1)
        return self._sources[width]

    def pooled(self) -> SegmentedSum:
        """Rows -> [U] sums over windows."""
        if self._pooled is None:
            positions_P, offsets = self._window_positions()
            self._pooled = SegmentedSum(positions_P, self.num_rows, offsets)
        return self._pooled

    def unfolded(self) -> tuple[SegmentedSum, "WindowMaps"]:
        """Rows -> the rows of every sample's window, one after the other; and the maps of these."""
        if self._unfolded is None:
            length_B = self.index.expanded(self.length)
            positions_P, offsets = window_positions(self.index.expanded(self.start), length_B)
            identity = FoldIndex.identity(self.index.num_samples)
            maps = WindowMaps(offsets[:-1], length_B, identity, len(positions_P))
            self._unfolded = SegmentedSum(positions_P, self.num_rows), maps
        return self._unfolded

    def _window_positions(self) -> tuple[Tensor, Tensor]:
        if self._positions is None:
            self._positions = window_positions(self.start, self.length)
        return self._positions
