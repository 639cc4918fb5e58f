"""What must hold of the tensors of a batch; each broken rule is one line for the user."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recfold.spec import InputError


def check_keys(what: str, keys: Sequence[str]) -> None:
    """Keys are non-empty, distinct strings.

    Raises:
        InputError: they are not.
    """
    if not keys:
        raise InputError(f"{what} has no keys", todo="give the name of at least one feature")
    for key in keys:
        if not isinstance(key, str) or not key:
            raise InputError(f"a key of {what} is not a name", got=repr(key), expected="a string that is not empty")
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if list(keys).count(key) > 1)
        raise InputError(f"key {twice!r} of {what} is given twice", todo="give each feature once")


def check_devices(what: str, **tensors: Tensor | None) -> None:
    """All tensors lie on one device.

    Raises:
        InputError: they do not; lists where each one lies.
    """
    given = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(given.values())) > 1:
        places = ", ".join(f"{name} on {device}" for name, device in given.items())
        raise InputError(f"the tensors of {what} lie on different devices", got=places, todo="move them with .to()")


def check_vector(what: str, name: str, tensor: Tensor, *, int64: bool = True) -> None:
    """A tensor has one axis and, where asked, dtype int64.

    Raises:
        InputError: it has not.
    """
    if tensor.dim() != 1:
        raise InputError(f"{name} of {what} must have one axis", got=f"shape {list(tensor.shape)}")
    if int64 and tensor.dtype != torch.int64:
        raise InputError(f"{name} of {what} must be int64", got=_dtype(tensor))


def check_offsets(what: str, offsets: Tensor, num_keys: int, num_values: int) -> None:
    """Offsets are `num_keys * N + 1` long for some N, start at 0, never fall and end at the number of values.

    Raises:
        InputError: they do not.
    """
    if len(offsets) == 0 or (len(offsets) - 1) % num_keys:
        raise InputError(
            f"offsets of {what} have a wrong length",
            got=len(offsets),
            expected=f"{num_keys} keys x lists + 1, one offset per list of each key and the end",
        )
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0:
        raise InputError(f"offsets of {what} must start at 0", got=first)
    falls = offsets[1:] < offsets[:-1]
    if bool(falls.any()):
        at = int(falls.nonzero()[0])
        raise InputError(f"offsets of {what} fall", got=f"{int(offsets[at])} then {int(offsets[at + 1])} at {at + 1}")
    if last != num_values:
        raise InputError(f"offsets of {what} must end at the number of values", got=last, expected=num_values)


def check_weights(what: str, weights: Tensor | None, num_values: int) -> None:
    """Weights are floats, one per value.

    Raises:
        InputError: they are not.
    """
    if weights is None:
        return
    check_vector(what, "weights", weights, int64=False)
    if not weights.is_floating_point():
        raise InputError(f"weights of {what} must be floats", got=_dtype(weights))
    if len(weights) != num_values:
        raise InputError(f"weights of {what} must be one per value", got=len(weights), expected=num_values)


def check_inverse(what: str, inverse: Tensor, num_distinct: int) -> None:
    """`inverse` is int64 [B] with entries in [0, num_distinct).

    Raises:
        InputError: it is not.
    """
    check_vector(what, "inverse", inverse)
    if len(inverse) == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(inverse))
    if low < 0 or high >= num_distinct:
        raise InputError(
            f"inverse of {what} is out of range",
            got=low if low < 0 else high,
            expected=f"0 <= inverse < {num_distinct}, the number of distinct lists",
        )


def check_windows(what: str, start: Tensor, length: Tensor, offsets: Tensor, num_keys: int) -> None:
    """Windows lie inside one merged list each, and all keys have merged lists of the same lengths.

    Args:
        start, length: [U], counted from the key's first value.
        offsets: [num_keys * M + 1] of the merged lists, already checked.
    Raises:
        InputError: they do not.
    """
    check_vector(what, "start", start)
    check_vector(what, "length", length)
    if len(start) != len(length):
        raise InputError(f"start and length of {what} differ in length", got=f"{len(start)} and {len(length)}")
    merged_FM = offsets.diff().view(num_keys, -1)
    if bool((merged_FM != merged_FM[:1]).any()):
        raise InputError(f"the merged lists of {what} must have the same lengths for every key")
    if len(start) == 0:
        return
    if bool((length < 0).any()):
        raise InputError(f"length of {what} is negative", got=int(length.min()))
    num_values = int(offsets[-1]) // num_keys
    outside = (start < 0) | (start > num_values - length)
    if bool(outside.any()):
        at = int(outside.nonzero()[0])
        raise InputError(
            f"window {at} of {what} is out of bounds",
            got=f"start {int(start[at])}, length {int(length[at])}",
            expected=f"a window inside the key's {num_values} values",
        )
    ends_M = offsets[1 : merged_FM.shape[1] + 1]
    first, last = (torch.searchsorted(ends_M, at, right=True) for at in (start, start + length - 1))
    crosses = (length > 0) & (first != last)
    if bool(crosses.any()):
        at = int(crosses.nonzero()[0])
        raise InputError(
            f"window {at} of {what} crosses the border of a merged list",
            got=f"start {int(start[at])}, length {int(length[at])}",
        )


def check_range(what: str, start: int, stop: int, num_samples: int) -> None:
    """[start, stop) lies in [0, num_samples).

    Raises:
        InputError: it does not.
    """
    if not 0 <= start <= stop <= num_samples:
        raise InputError(
            f"samples [{start}, {stop}) are not in {what}", expected=f"0 <= start <= stop <= {num_samples}"
        )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
