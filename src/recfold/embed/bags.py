"""Ids of one feature as bags, the checks that keep wrong ids out of a table, and several reads joined to one lookup."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.optim import Joined
from recfold.spec import InputError, Read, TableSpec


@dataclass(frozen=True, eq=False)
class Bags:
    """The distinct lists of one feature.

    Args:
        values: [V] int64, row numbers in [0, rows of the table).
        offsets: [U + 1] int64; bag u is `values[offsets[u]:offsets[u + 1]]`. A read of mode `rows` gives one row per
            id and does not look at them.
        weights: [V] what each row is multiplied with, an input without gradient; None for 1.

    Example:
        >>> Bags(torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3])).num_bags("sum")
        2
    """

    values: Tensor
    offsets: Tensor
    weights: Tensor | None = None

    def num_bags(self, mode: str) -> int:
        """Rows of the output: U, or V for mode `rows`."""
        return len(self.values) if mode == "rows" else len(self.offsets) - 1


def join(reads: Sequence[Read], bags: Mapping[str, Bags], dtype: torch.dtype) -> Joined:
    """The bags of all reads of one table, one read after the other; an id of a `rows` read is a bag of one.

    Args:
        dtype: that weights are wanted in.
    """
    parts = [bags[read.feature] for read in reads]
    values = torch.cat([part.values for part in parts]) if len(parts) > 1 else parts[0].values
    weights = None
    if any(part.weights is not None for part in parts):
        weights = torch.cat(
            [torch.ones_like(p.values, dtype=dtype) if p.weights is None else p.weights.to(dtype) for p in parts]
        )
    if all(read.mode == "rows" for read in reads):
        return Joined(values, None, weights)
    if len(parts) == 1:
        return Joined(values, parts[0].offsets, weights)
    starts, shift = [], 0
    for read, part in zip(reads, parts, strict=True):
        rows = read.mode == "rows"
        own = torch.arange(len(part.values), device=values.device) if rows else part.offsets[:-1]
        starts.append(own + shift)
        shift += len(part.values)
    return Joined(values, torch.cat([*starts, values.new_full((1,), shift)]), weights)


def check_reads(tables: Mapping[str, TableSpec], reads: Sequence[Read]) -> None:
    """Every table is read, and every feature reads one.

    Raises:
        InputError: a read of an unknown table, two of one feature, or a table without reads.
    """
    seen: set[str] = set()
    for read in reads:
        if read.table not in tables:
            raise InputError(
                f"feature {read.feature!r} reads unknown table {read.table!r}",
                expected=f"one of {', '.join(sorted(tables))}",
            )
        if read.feature in seen:
            raise InputError(f"feature {read.feature!r} is read twice", expected="one read a feature")
        seen.add(read.feature)
    unread = sorted(tables.keys() - {read.table for read in reads})
    if unread:
        raise InputError(f"table {unread[0]!r} is read by no feature", todo="leave it out")


def check_bags(reads: Sequence[Read], bags: Mapping[str, Bags], rows: Mapping[str, int], device: torch.device) -> None:
    """Every read has well-formed bags whose ids are rows of its table.

    Args:
        rows: table -> its number of rows.
    Raises:
        InputError: what is wrong with which feature.
    """
    names = {read.feature for read in reads}
    if bags.keys() != names:
        missing, extra = sorted(names - bags.keys()), sorted(bags.keys() - names)
        raise InputError(
            f"no bags of feature {missing[0]!r}" if missing else f"feature {extra[0]!r} is read by no table",
            expected=f"bags of {', '.join(sorted(names))}",
        )
    for read in reads:
        _check_shape(read.feature, bags[read.feature], device)
    if not reads:
        return
    own = [bags[read.feature] for read in reads]
    pooled = [number for number, read in enumerate(reads) if read.mode != "rows"]  # the others' offsets do not matter
    # one transfer for all features: on an accelerator each would wait for the device
    facts = torch.cat(
        [_extreme_ids(own), _offset_facts([own[number] for number in pooled], own[0].values.device)]
    ).tolist()
    lows, highs, facts = facts[: len(reads)], facts[len(reads) : 2 * len(reads)], facts[2 * len(reads) :]
    for read, part, low, high in zip(reads, own, lows, highs, strict=True):
        if len(part.values) and (low < 0 or high >= rows[read.table]):
            raise _outside(read, rows[read.table], low if low < 0 else high)
    firsts, lasts, least = facts[: len(pooled)], facts[len(pooled) : -1], facts[-1]
    for number, first, last in zip(pooled, firsts, lasts, strict=True):
        falls = least < 0 and bool((own[number].offsets.diff() < 0).any())
        if first != 0 or last != len(own[number].values) or falls:
            raise _wrong_offsets(reads[number], len(own[number].values), first, last, falls)


def check_together(reads: Sequence[Read], bags: Mapping[str, Bags], together: Mapping[str, str]) -> None:
    """Pooled reads of one batch group have equally many bags.

    Raises:
        InputError: two features of a group that have not.
    """
    seen: dict[str, Read] = {}
    for read in reads:
        group = together.get(read.feature)
        if group is None or read.mode == "rows":
            continue
        other = seen.setdefault(group, read)
        counts = tuple(bags[r.feature].num_bags(r.mode) for r in (other, read))
        if counts[0] != counts[1]:
            raise InputError(
                f"features {other.feature!r} and {read.feature!r} of group {group!r} have different numbers of lists",
                got=f"{counts[0]} and {counts[1]}",
                expected="the same number",
            )


def check_same_ids(same_ids: Mapping[str, str], reads: Sequence[Read]) -> None:
    """Features that have the bags of another one, which has its own.

    Raises:
        InputError: a feature without a read, one that is named through another, or two of other modes.
    """
    modes = {read.feature: read.mode for read in reads}
    for feature, source in same_ids.items():
        for name in (feature, source):
            if name not in modes:
                raise InputError(f"feature {name!r} of the same ids as another is read by no table")
        if source in same_ids or modes[feature] != modes[source]:
            why = "has the ids of a third one" if source in same_ids else "is read in another way"
            raise InputError(f"feature {feature!r} cannot have the ids of {source!r}, which {why}")


def check_same_bags(same_ids: Mapping[str, str], bags: Mapping[str, Bags]) -> None:
    """Features that are said to have the same bags have them.

    Raises:
        InputError: the first one that has not.
    """
    for feature, source in same_ids.items():
        own, other = bags[feature], bags[source]
        if own is not other and not (
            _equal(own.values, other.values)
            and _equal(own.offsets, other.offsets)
            and (own.weights is None) == (other.weights is None)
            and (own.weights is None or other.weights is None or _equal(own.weights, other.weights))
        ):
            raise InputError(f"feature {feature!r} has not the bags of {source!r}", todo="leave it out of same_ids")


def _equal(own: Tensor, other: Tensor) -> bool:
    return own is other or torch.equal(own, other)


def _check_shape(feature: str, bags: Bags, device: torch.device) -> None:
    for what, tensor in (("values", bags.values), ("offsets", bags.offsets)):
        if tensor.dtype != torch.int64 or tensor.dim() != 1:
            raise InputError(
                f"wrong {what} of feature {feature!r}",
                got=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                expected="int64 with one axis",
            )
        if tensor.device.type != device.type:
            raise InputError(f"{what} of feature {feature!r} are on {tensor.device}", expected=f"{device}")
    if len(bags.offsets) == 0:
        raise InputError(f"offsets of feature {feature!r} are empty", expected="one more than there are lists")
    if bags.weights is not None and bags.weights.requires_grad:
        raise InputError(
            f"the weights of feature {feature!r} need a gradient, which no kernel gives", todo="detach() them"
        )
    if bags.weights is not None and bags.weights.shape != bags.values.shape:
        raise InputError(
            f"feature {feature!r} has not one weight per id",
            got=f"{tuple(bags.weights.shape)} weights",
            expected=f"{len(bags.values)}",
        )


def _extreme_ids(bags: Sequence[Bags]) -> Tensor:
    """Smallest id of every feature, then largest of every feature; anything of one without ids."""
    zero = bags[0].values.new_zeros(())
    lows, highs = zip(*(own.values.aminmax() if len(own.values) else (zero, zero) for own in bags), strict=True)
    return torch.stack([*lows, *highs])


def _offset_facts(bags: Sequence[Bags], device: torch.device) -> Tensor:
    """First offset of every feature, then last of every feature, then the shortest length of all (0 where none is
    negative)."""
    if not bags:
        return torch.zeros(1, dtype=torch.int64, device=device)
    stops = list(itertools.accumulate(len(own.offsets) for own in bags))
    starts = [0, *stops[:-1]]
    joined = torch.cat([own.offsets for own in bags])
    ends = joined[torch.tensor([*starts, *(stop - 1 for stop in stops)], device=joined.device)]
    joined = torch.diff(joined, prepend=joined.new_zeros(1))
    joined[torch.tensor(starts, device=joined.device)] = 0  # from one feature's last offset to the next one's first
    return torch.cat([ends, joined.amin().clamp_(max=0).unsqueeze(0)])


def _outside(read: Read, rows: int, found: int) -> InputError:
    return InputError(
        f"feature {read.feature!r} has an id outside table {read.table!r}",
        got=found,
        expected=f"ids in [0, {rows})",
        todo="give the table more rows, or hash the feature to fewer",
    )


def _wrong_offsets(read: Read, num_values: int, first: int, last: int, falls: bool) -> InputError:
    return InputError(
        f"wrong offsets of feature {read.feature!r}",
        got=f"{first} ... {last}" + (", not in rising order" if falls else ""),
        expected=f"0 ... {num_values} (its number of ids), never falling",
    )
