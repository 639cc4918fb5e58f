"""InverseKeyedJaggedTensor: the distinct value lists of a group's features, and which one each sample uses."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recfold.batch.checks import (
    check_devices,
    check_inverse,
    check_keys,
    check_offsets,
    check_vector,
    check_weights,
    check_windows,
)
from recfold.batch.fold_index import FoldIndex
from recfold.batch.fold_lists import first_occurrences, first_occurrences_reference
from recfold.batch.jagged import jagged_index_select, jagged_index_select_reference, offsets_of, window_positions
from recfold.batch.kjt import KeyedJaggedTensor, bags_of, key_bounds, key_number, own_offsets
from recfold.batch.stats import FoldStats, num_bytes
from recfold.spec import InputError


class InverseKeyedJaggedTensor:
    """The lists of one group, each distinct one once. Feature-major: list (k, u) has number `k * U + u`.

    Session and dictionary groups store U lists per feature. A window group stores M merged lists per feature, of the
    same lengths for every feature, and U windows of them.

    Args:
        keys: names of the F features.
        values: [V], all lists one after the other.
        offsets: int64 [F * U + 1], or [F * M + 1] for a window group.
        inverse: int64 [B], the distinct list of each sample; None for the identity (U = B); or a `FoldIndex` to share.
        weights: floats [V], one per value.
        start, length: int64 [U], the windows, counted from the first value of a feature; both or none.
        validate: check all this (leave out only for what is right by construction).
    Raises:
        InputError: a broken rule, in one line.

    Example:
        >>> lists = InverseKeyedJaggedTensor(["a"], torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3]),
        ...                                  torch.tensor([0, 0, 1, 0]))
        >>> lists.num_samples, lists.num_distinct
        (4, 2)
        >>> lists.to_kjt().values.tolist()
        [7, 9, 7, 9, 4, 7, 9]
    """

    __slots__ = ("_bounds", "_own_offsets", "index", "keys", "length", "offsets", "start", "values", "weights")

    def __init__(
        self,
        keys: Sequence[str],
        values: Tensor,
        offsets: Tensor,
        inverse: Tensor | FoldIndex | None,
        weights: Tensor | None = None,
        *,
        start: Tensor | None = None,
        length: Tensor | None = None,
        validate: bool = True,
    ) -> None:
        if validate:
            _validate(keys, values, offsets, inverse, weights, start, length)
        self.keys = tuple(keys)
        self.values = values
        self.offsets = offsets
        self.weights = weights
        self.start = start
        self.length = length
        if isinstance(inverse, FoldIndex):
            self.index = inverse
        else:
            num_distinct = (len(offsets) - 1) // len(self.keys) if start is None else len(start)
            self.index = FoldIndex(inverse, num_distinct, validate=False)
        self._bounds: tuple[int, ...] | None = None
        self._own_offsets: tuple[Tensor, ...] | None = None

    @property
    def inverse(self) -> Tensor | None:
        return self.index.inverse

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def num_distinct(self) -> int:
        return self.index.num_distinct

    @property
    def num_merged(self) -> int:
        """Lists stored per feature: M merged ones of a window group, else U."""
        return (len(self.offsets) - 1) // len(self.keys)

    @property
    def is_window(self) -> bool:
        return self.start is not None

    @property
    def device(self) -> torch.device:
        return self.values.device

    def bounds(self) -> tuple[int, ...]:
        """Where the values of each feature begin, and the end: F + 1 numbers, read off the tensors once."""
        if self._bounds is None:
            self._bounds = key_bounds(len(self.keys), self.offsets)
        return self._bounds

    def lists(self, key: str) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """One feature as windows of its values, whatever the kind of group; no values are copied.

        Returns:
            values [V of this feature], start [U], length [U], weights [V of this feature] or None.
        Raises:
            InputError: no such key.
        """
        if self.start is not None and self.length is not None:
            number = key_number(self.keys, key)
            first, last = self.bounds()[number], self.bounds()[number + 1]
            weights = None if self.weights is None else self.weights[first:last]
            return self.values[first:last], self.start, self.length, weights
        values, offsets, weights = self.bags(key)
        return values, offsets[:-1], offsets.diff(), weights

    def bags(self, key: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """One feature as U lists one after the other: values, offsets [U + 1] from 0, weights.

        Windows are written out; otherwise no values are copied, and every call gives the same offsets (do not change
        them).

        Raises:
            InputError: no such key.
        """
        if not self.is_window:
            number = key_number(self.keys, key)
            if self._own_offsets is None:
                self._own_offsets = own_offsets(len(self.keys), self.offsets)
            return bags_of(number, self.values, self._own_offsets[number], self.weights, self.bounds())
        values, start, length, weights = self.lists(key)
        positions_P, offsets = window_positions(start, length)
        return values[positions_P], offsets, None if weights is None else weights[positions_P]

    def materialize(self) -> "InverseKeyedJaggedTensor":
        """The same lists and index with every distinct window written out as a list; itself where there are none."""
        if self.start is None or self.length is None:
            return self
        values, offsets, weights = self._written_out(self.start, self.length)
        return self._like(values, offsets, self.index, weights)

    def to_kjt(self) -> KeyedJaggedTensor:
        """Every sample's list written out, windows too. The identity without windows shares its tensors."""
        if self.start is not None and self.length is not None:
            start_B, length_B = self.index.expanded(self.start), self.index.expanded(self.length)
            values, offsets, weights = self._written_out(start_B, length_B)
        elif self.inverse is None:
            values, offsets, weights = self.values, self.offsets, self.weights
        else:
            values, offsets, weights = jagged_index_select(
                self.values, self.offsets, self._numbers(self.inverse), self.weights
            )
        return KeyedJaggedTensor(self.keys, values, offsets, weights, validate=False)

    @classmethod
    def from_kjt(cls, kjt: KeyedJaggedTensor, keys: Sequence[str] | None = None) -> "InverseKeyedJaggedTensor":
        """Fold data that was not folded on disk, by hashing lists on their device.

        A sample repeats another only if the lists of all keys do, bit for bit (NaN, -0.0 and weights included; a hash
        match is always verified). Distinct lists are kept in the order in which they first occur.

        Args:
            kjt: B samples.
            keys: the features of this group; all of them where not given.
        Returns:
            An IKJT of `keys` whose `to_kjt()` gives the same lists back.
        Raises:
            InputError: `keys` is empty, repeats a key or names one that is not there.
        """
        kjt = _select_keys(kjt, keys)
        first_U, inverse_B = first_occurrences(kjt)
        numbers = _list_numbers(first_U, len(kjt.keys), kjt.num_samples)
        values, offsets, weights = jagged_index_select(kjt.values, kjt.offsets, numbers, kjt.weights)
        return cls(
            kjt.keys, values, offsets, FoldIndex(inverse_B, len(first_U), validate=False), weights, validate=False
        )

    @classmethod
    def plain(cls, kjt: KeyedJaggedTensor) -> "InverseKeyedJaggedTensor":
        """The same lists as they are, with the identity index: nothing is folded, nothing copied."""
        return cls(kjt.keys, kjt.values, kjt.offsets, None, kjt.weights, validate=False)

    def slice(self, start: int, stop: int) -> "InverseKeyedJaggedTensor":
        """Samples [start, stop), with only the lists (and merged positions) that one of them uses.

        Raises:
            InputError: the range is not inside the batch.
        """
        index, kept = self.index.select(start, stop)
        return self.with_lists(index, kept)

    def with_lists(self, index: FoldIndex, kept: Tensor) -> "InverseKeyedJaggedTensor":
        """Keep the lists `kept` (rising) only, under a new index over them; see `FoldIndex.select`."""
        kept = kept.to(self.device)
        if self.start is not None and self.length is not None:
            return self._with_windows(index, self.start[kept], self.length[kept])
        if len(kept) == self.num_distinct:
            return self._like(self.values, self.offsets, index, self.weights)
        values, offsets, weights = jagged_index_select(self.values, self.offsets, self._numbers(kept), self.weights)
        return self._like(values, offsets, index, weights)

    @classmethod
    def concat(
        cls, parts: Sequence["InverseKeyedJaggedTensor"], index: FoldIndex | None = None
    ) -> "InverseKeyedJaggedTensor":
        """The samples of all parts, one after the other. Lists are not compared across parts.

        Args:
            parts: at least one; same keys in the same order, all or none weighted, all or none with windows.
            index: `FoldIndex.concat` of the parts' indexes, where the caller has it already.
        Raises:
            InputError: the parts do not fit together.
        """
        _check_parts(parts)
        first = parts[0]
        num_keys = len(first.keys)
        spans = [list(itertools.pairwise(part.bounds())) for part in parts]
        order = [(part, *span[k]) for k in range(num_keys) for part, span in zip(parts, spans, strict=True)]
        values = torch.cat([part.values[low:high] for part, low, high in order])
        weights = None
        if first.weights is not None:
            weights = torch.cat([part.weights[low:high] for part, low, high in order if part.weights is not None])
        lengths = torch.cat([part.offsets.diff().view(num_keys, -1) for part in parts], dim=1)
        start = length = None
        if first.is_window:
            shifts = [0]
            for part in parts[:-1]:
                shifts.append(shifts[-1] + part.bounds()[1])
            pairs = zip(parts, shifts, strict=True)
            start = torch.cat([part.start + shift for part, shift in pairs if part.start is not None])
            length = torch.cat([part.length for part in parts if part.length is not None])
        index = index or FoldIndex.concat([part.index for part in parts])
        return first._like(values, offsets_of(lengths.flatten()), index, weights, start, length)

    def stats(self) -> FoldStats:
        """What folding saved here; the bytes include `inverse`."""
        num_keys, counts_U = len(self.keys), self.index.counts(self.device)
        if self.length is not None:
            ids_plain = int((self.length * counts_U).sum()) * num_keys
        else:
            ids_plain = int((self.offsets.diff().view(num_keys, -1) * counts_U).sum())
        per_id = num_bytes(self.values[:1], None if self.weights is None else self.weights[:1]) if ids_plain else 0
        lists_plain = num_keys * self.num_samples
        stored = num_bytes(self.values, self.offsets, self.inverse, self.weights, self.start, self.length)
        return FoldStats(
            num_samples=self.num_samples,
            num_distinct=self.num_distinct,
            lists=num_keys * self.num_distinct,
            lists_plain=lists_plain,
            ids=len(self.values),
            ids_plain=ids_plain,
            stored_bytes=stored,
            plain_bytes=ids_plain * per_id + (lists_plain + 1) * self.offsets.element_size(),
        )

    def to(
        self, device: torch.device | str, *, non_blocking: bool = False, index: FoldIndex | None = None
    ) -> "InverseKeyedJaggedTensor":
        """The same lists on a device; `index`: the index that is there already, to share."""
        index = index or self.index.to(device, non_blocking=non_blocking)
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking), index)

    def pin_memory(self, *, index: FoldIndex | None = None) -> "InverseKeyedJaggedTensor":
        """The same lists in page-locked memory; itself where there is no CUDA device to copy to."""
        if not torch.cuda.is_available():
            return self
        return self._mapped(Tensor.pin_memory, index or self.index.pin_memory())

    def _mapped(self, move: Callable[[Tensor], Tensor], index: FoldIndex) -> "InverseKeyedJaggedTensor":
        weights, start, length = (
            None if tensor is None else move(tensor) for tensor in (self.weights, self.start, self.length)
        )
        moved = self._like(move(self.values), move(self.offsets), index, weights, start, length)
        moved._bounds = self.bounds()
        return moved

    def _like(
        self,
        values: Tensor,
        offsets: Tensor,
        index: FoldIndex,
        weights: Tensor | None,
        start: Tensor | None = None,
        length: Tensor | None = None,
    ) -> "InverseKeyedJaggedTensor":
        return InverseKeyedJaggedTensor(
            self.keys, values, offsets, index, weights, start=start, length=length, validate=False
        )

    def _numbers(self, list_N: Tensor) -> Tensor:
        return _list_numbers(list_N, len(self.keys), self.num_distinct)

    def _written_out(self, start_N: Tensor, length_N: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Windows as lists of every key: values, offsets, weights."""
        num_keys = len(self.keys)
        positions_P, _ = window_positions(start_N, length_N)
        values = self.values.reshape(num_keys, -1).index_select(1, positions_P).flatten()
        weights = self.weights
        if weights is not None:
            weights = weights.reshape(num_keys, -1).index_select(1, positions_P).flatten()
        return values, offsets_of(length_N.repeat(num_keys)), weights

    def _with_windows(self, index: FoldIndex, start_U: Tensor, length_U: Tensor) -> "InverseKeyedJaggedTensor":
        """Keep the merged positions that these windows use, and the merged lists that still have any."""
        num_keys, num_values = len(self.keys), self.bounds()[1]
        cover = torch.zeros(num_values + 1, dtype=torch.int64, device=self.device)
        cover.index_add_(0, start_U, torch.ones_like(start_U))
        cover.index_add_(0, start_U + length_U, -torch.ones_like(start_U))
        used_V = cover.cumsum(0)[:-1] > 0
        place = offsets_of(used_V.to(torch.int64))
        merged_M = place[self.offsets[: self.num_merged + 1]].diff()
        merged_M = merged_M[merged_M > 0]
        kept_P = used_V.nonzero().flatten()
        values = self.values.reshape(num_keys, -1).index_select(1, kept_P).flatten()
        weights = self.weights
        if weights is not None:
            weights = weights.reshape(num_keys, -1).index_select(1, kept_P).flatten()
        return self._like(values, offsets_of(merged_M.repeat(num_keys)), index, weights, place[start_U], length_U)

    def __repr__(self) -> str:
        kind = f", num_merged={self.num_merged}" if self.is_window else ""
        return (
            f"InverseKeyedJaggedTensor(keys={list(self.keys)}, num_samples={self.num_samples}, "
            f"num_distinct={self.num_distinct}{kind}, values={len(self.values)})"
        )


def to_kjt_reference(lists: InverseKeyedJaggedTensor) -> KeyedJaggedTensor:
    """The slow twin of `InverseKeyedJaggedTensor.to_kjt`: one sample of one key at a time."""
    used = range(lists.num_samples) if lists.inverse is None else lists.inverse.tolist()
    values, weights, offsets = [lists.values[:0]], [], [0]
    if lists.weights is not None:
        weights.append(lists.weights[:0])
    for key in lists.keys:
        values_V, start_U, length_U, weights_V = lists.lists(key)
        for u in used:
            low, high = int(start_U[u]), int(start_U[u] + length_U[u])
            values.append(values_V[low:high])
            if weights_V is not None:
                weights.append(weights_V[low:high])
            offsets.append(offsets[-1] + high - low)
    return KeyedJaggedTensor(
        lists.keys, torch.cat(values), torch.tensor(offsets), torch.cat(weights) if weights else None
    )


def from_kjt_reference(kjt: KeyedJaggedTensor) -> InverseKeyedJaggedTensor:
    """The slow twin of `InverseKeyedJaggedTensor.from_kjt`: a dictionary of the samples seen."""
    first_U, inverse_B = first_occurrences_reference(kjt)
    numbers = torch.tensor([k * kjt.num_samples + b for k in range(len(kjt.keys)) for b in first_U.tolist()])
    values, offsets, weights = jagged_index_select_reference(
        kjt.values, kjt.offsets, numbers.to(torch.int64), kjt.weights
    )
    return InverseKeyedJaggedTensor(kjt.keys, values, offsets, inverse_B, weights)


def slice_reference(lists: InverseKeyedJaggedTensor, start: int, stop: int) -> InverseKeyedJaggedTensor:
    """The slow twin of `InverseKeyedJaggedTensor.slice`: sets of what is used, list by list."""
    used = list(range(lists.num_samples)) if lists.inverse is None else lists.inverse.tolist()
    kept = sorted(set(used[start:stop]))
    inverse = None if lists.inverse is None else torch.tensor([kept.index(u) for u in used[start:stop]]).long()
    if lists.start is None or lists.length is None:
        numbers = [k * lists.num_distinct + u for k in range(len(lists.keys)) for u in kept]
        values, offsets, weights = jagged_index_select_reference(
            lists.values, lists.offsets, torch.tensor(numbers).long(), lists.weights
        )
        return InverseKeyedJaggedTensor(lists.keys, values, offsets, inverse, weights)
    windows = [(int(lists.start[u]), int(lists.length[u])) for u in kept]
    positions = sorted({at for first, length in windows for at in range(first, first + length)})
    bounds = lists.offsets.tolist()
    merged = [
        sum(low <= at < high for at in positions) for low, high in itertools.pairwise(bounds[: lists.num_merged + 1])
    ]
    offsets = offsets_of(torch.tensor([size for size in merged if size] * len(lists.keys)).long())
    per_key = lists.bounds()[1]
    numbers_P = torch.tensor([k * per_key + at for k in range(len(lists.keys)) for at in positions]).long()
    return InverseKeyedJaggedTensor(
        lists.keys,
        lists.values[numbers_P],
        offsets,
        inverse,
        None if lists.weights is None else lists.weights[numbers_P],
        start=torch.tensor([sum(at < first for at in positions) for first, _ in windows]).long(),
        length=torch.tensor([length for _, length in windows]).long(),
    )


def _list_numbers(list_N: Tensor, num_keys: int, per_key: int) -> Tensor:
    """Numbers of the same lists for every key, feature-major."""
    base_F1 = torch.arange(num_keys, device=list_N.device).unsqueeze(1) * per_key
    return (base_F1 + list_N).flatten()


def _select_keys(kjt: KeyedJaggedTensor, keys: Sequence[str] | None) -> KeyedJaggedTensor:
    if keys is None or tuple(keys) == kjt.keys:
        return kjt
    check_keys("a group", keys)
    numbers = torch.tensor([key_number(kjt.keys, key) for key in keys], device=kjt.device) * kjt.num_samples
    lists_FB = (numbers.unsqueeze(1) + torch.arange(kjt.num_samples, device=kjt.device)).flatten()
    values, offsets, weights = jagged_index_select(kjt.values, kjt.offsets, lists_FB, kjt.weights)
    return KeyedJaggedTensor(keys, values, offsets, weights, validate=False)


def _validate(
    keys: Sequence[str],
    values: Tensor,
    offsets: Tensor,
    inverse: Tensor | FoldIndex | None,
    weights: Tensor | None,
    start: Tensor | None,
    length: Tensor | None,
) -> None:
    what = "an InverseKeyedJaggedTensor"
    check_keys(what, keys)
    inverse_B = inverse.inverse if isinstance(inverse, FoldIndex) else inverse
    check_devices(what, values=values, offsets=offsets, inverse=inverse_B, weights=weights, start=start, length=length)
    check_vector(what, "values", values, int64=False)
    check_vector(what, "offsets", offsets)
    check_offsets(what, offsets, len(keys), len(values))
    check_weights(what, weights, len(values))
    if (start is None) != (length is None):
        given, missing = ("length", "start") if start is None else ("start", "length")
        raise InputError(f"{what} has {given} but no {missing}", todo="give both, or neither")
    num_distinct = (len(offsets) - 1) // len(keys)
    if start is not None and length is not None:
        check_windows(what, start, length, offsets, len(keys))
        num_distinct = len(start)
    if isinstance(inverse, FoldIndex) and inverse.num_distinct != num_distinct:
        raise InputError(
            f"the index of {what} is over another number of lists", got=inverse.num_distinct, expected=num_distinct
        )
    if inverse_B is not None:
        check_inverse(what, inverse_B, num_distinct)


def _check_parts(parts: Sequence[InverseKeyedJaggedTensor]) -> None:
    if not parts:
        raise InputError("there is nothing to concatenate", todo="give at least one part")
    for number, part in enumerate(parts):
        for what, own, first in (
            ("keys", list(part.keys), list(parts[0].keys)),
            ("value type", part.values.dtype, parts[0].values.dtype),
            ("weights", part.weights is not None, parts[0].weights is not None),
            ("windows", part.is_window, parts[0].is_window),
            ("device", part.device, parts[0].device),
        ):
            if own != first:
                raise InputError(f"part {number} to concatenate has other {what} than part 0", got=own, expected=first)
