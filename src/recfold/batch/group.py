"""Group: the features of a batch that share one index."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.batch.checks import check_devices, check_keys
from recfold.batch.fold_index import FoldIndex
from recfold.batch.ikjt import InverseKeyedJaggedTensor
from recfold.batch.kjt import key_number
from recfold.batch.stats import FoldStats, num_bytes
from recfold.spec import InputError


@dataclass(frozen=True)
class Group:
    """Id lists, lists of floats and dense columns of one group.

    Args:
        index: which of the U distinct rows each sample uses.
        lists: id lists (int64), or None.
        dense_lists: lists of floats, or None.
        dense: floats [U, W], dense features side by side, or None.
        dense_keys: names of the dense features.
        dense_widths: columns of each; they add up to W.
    Raises:
        InputError: parts of another number of samples or distinct rows, or with another inverse; dense columns that
            do not add up.
    """

    index: FoldIndex
    lists: InverseKeyedJaggedTensor | None = None
    dense_lists: InverseKeyedJaggedTensor | None = None
    dense: Tensor | None = None
    dense_keys: tuple[str, ...] = ()
    dense_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        own = (self.index.num_samples, self.index.num_distinct)
        for name, part in (("lists", self.lists), ("dense_lists", self.dense_lists)):
            if part is not None and (part.num_samples, part.num_distinct) != own:
                raise InputError(
                    f"{name} of a group do not fit its index",
                    got=f"{part.num_samples} samples of {part.num_distinct} distinct rows",
                    expected=f"{own[0]} samples of {own[1]}",
                )
        check_devices(
            "a group",
            index=self.index.inverse,
            lists=self.lists.values if self.lists else None,
            dense_lists=self.dense_lists.values if self.dense_lists else None,
            dense=self.dense,
        )
        for name, part in (("lists", self.lists), ("dense_lists", self.dense_lists)):
            if part is not None and not _same_inverse(part.inverse, self.index.inverse):
                raise InputError(
                    f"{name} of a group have another inverse than its index",
                    todo="build them with inverse=index, so that they share it",
                )
        self._check_dense()

    def _check_dense(self) -> None:
        if len(self.dense_keys) != len(self.dense_widths):
            raise InputError(
                "a group needs one width per dense feature",
                got=f"{len(self.dense_widths)} widths for {len(self.dense_keys)} features",
            )
        if self.dense is None:
            if self.dense_keys:
                raise InputError(f"a group names dense feature {self.dense_keys[0]!r} but has no dense values")
            return
        check_keys("the dense part of a group", self.dense_keys)
        expected = [self.index.num_distinct, sum(self.dense_widths)]
        if list(self.dense.shape) != expected:
            raise InputError(
                "dense values of a group have a wrong shape",
                got=list(self.dense.shape),
                expected=f"{expected}, distinct rows by the sum of widths",
            )

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def num_distinct(self) -> int:
        return self.index.num_distinct

    def dense_of(self, key: str) -> Tensor:
        """Columns of one dense feature, [U, width], a view.

        Raises:
            InputError: no such dense feature.
        """
        number = key_number(self.dense_keys, key)
        first = sum(self.dense_widths[:number])
        assert self.dense is not None
        return self.dense[:, first : first + self.dense_widths[number]]

    def expand(self) -> "Group":
        """The plain form: the identity index, every sample's lists and dense values written out."""
        return Group(
            FoldIndex.identity(self.num_samples),
            self.lists and InverseKeyedJaggedTensor.plain(self.lists.to_kjt()),
            self.dense_lists and InverseKeyedJaggedTensor.plain(self.dense_lists.to_kjt()),
            None if self.dense is None else self.index.unfold(self.dense),
            self.dense_keys,
            self.dense_widths,
        )

    def slice(self, start: int, stop: int) -> "Group":
        """Samples [start, stop), with only what one of them uses.

        Raises:
            InputError: the range is not inside the batch.
        """
        index, kept = self.index.select(start, stop)
        dense = self.dense
        if dense is not None:
            dense = dense[start:stop] if index.is_identity else dense.index_select(0, kept)
        return Group(
            index,
            self.lists and self.lists.with_lists(index, kept),
            self.dense_lists and self.dense_lists.with_lists(index, kept),
            dense,
            self.dense_keys,
            self.dense_widths,
        )

    @staticmethod
    def concat(groups: Sequence["Group"]) -> "Group":
        """The samples of all groups, one after the other.

        Raises:
            InputError: the groups hold different features.
        """
        first = groups[0]
        for number, group in enumerate(groups):
            if _content(group) != _content(first):
                raise InputError(
                    f"part {number} to concatenate holds other features than part 0",
                    got=_content(group),
                    expected=_content(first),
                )
        index = FoldIndex.concat([group.index for group in groups])
        dense = [group.dense for group in groups if group.dense is not None]
        return Group(
            index,
            _concat([group.lists for group in groups if group.lists is not None], index),
            _concat([group.dense_lists for group in groups if group.dense_lists is not None], index),
            torch.cat(dense) if dense else None,
            first.dense_keys,
            first.dense_widths,
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Group":
        """The same group on a device; its index is copied once."""
        index = self.index.to(device, non_blocking=non_blocking)
        return Group(
            index,
            self.lists and self.lists.to(device, non_blocking=non_blocking, index=index),
            self.dense_lists and self.dense_lists.to(device, non_blocking=non_blocking, index=index),
            None if self.dense is None else self.dense.to(device, non_blocking=non_blocking),
            self.dense_keys,
            self.dense_widths,
        )

    def pin_memory(self) -> "Group":
        """The same group in page-locked memory; itself where there is no CUDA device to copy to."""
        if not torch.cuda.is_available():
            return self
        index = self.index.pin_memory()
        return Group(
            index,
            self.lists and self.lists.pin_memory(index=index),
            self.dense_lists and self.dense_lists.pin_memory(index=index),
            None if self.dense is None else self.dense.pin_memory(),
            self.dense_keys,
            self.dense_widths,
        )

    def stats(self) -> FoldStats:
        """What folding saved in this group; `inverse` is counted once, dense values in bytes only."""
        parts = [part.stats() for part in (self.lists, self.dense_lists) if part is not None]
        inverse_bytes, dense_bytes = num_bytes(self.index.inverse), num_bytes(self.dense)
        row_bytes = sum(self.dense_widths) * self.dense.element_size() if self.dense is not None else 0
        stored = sum(part.stored_bytes - inverse_bytes for part in parts)
        return FoldStats(
            num_samples=self.num_samples,
            num_distinct=self.num_distinct,
            lists=sum(part.lists for part in parts),
            lists_plain=sum(part.lists_plain for part in parts),
            ids=sum(part.ids for part in parts),
            ids_plain=sum(part.ids_plain for part in parts),
            stored_bytes=stored + inverse_bytes + dense_bytes,
            plain_bytes=sum(part.plain_bytes for part in parts) + row_bytes * self.num_samples,
        )


def _same_inverse(left: Tensor | None, right: Tensor | None) -> bool:
    if left is None or right is None:
        return left is right
    return left is right or torch.equal(left, right)


def _content(group: Group) -> str:
    lists, dense_lists = (list(part.keys) if part else [] for part in (group.lists, group.dense_lists))
    dense = dict(zip(group.dense_keys, group.dense_widths, strict=True))
    return f"lists {lists}, dense lists {dense_lists}, dense {dense}"


def _concat(parts: list[InverseKeyedJaggedTensor], index: FoldIndex) -> InverseKeyedJaggedTensor | None:
    return InverseKeyedJaggedTensor.concat(parts, index) if parts else None
