"""KeyedJaggedTensor: one value list per feature and sample, the plain form."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recfold.batch.checks import check_devices, check_keys, check_offsets, check_vector, check_weights
from recfold.spec import InputError, unknown


class KeyedJaggedTensor:
    """Value lists of F features for B samples, feature-major: list (k, b) has number `k * B + b`.

    Args:
        keys: names of the features.
        values: [V], all lists one after the other.
        offsets: int64 [F * B + 1].
        weights: floats [V], one per value.
        validate: check all this (leave out only for what is right by construction).
    Raises:
        InputError: a broken rule, in one line.

    Example:
        >>> kjt = KeyedJaggedTensor(["a"], torch.tensor([7, 9, 7, 9, 4]), torch.tensor([0, 2, 4, 5]))
        >>> kjt.num_samples, kjt.lengths().tolist()
        (3, [2, 2, 1])
    """

    __slots__ = ("_bounds", "_own_offsets", "keys", "offsets", "values", "weights")

    def __init__(
        self,
        keys: Sequence[str],
        values: Tensor,
        offsets: Tensor,
        weights: Tensor | None = None,
        *,
        validate: bool = True,
    ) -> None:
        if validate:
            what = "a KeyedJaggedTensor"
            check_keys(what, keys)
            check_devices(what, values=values, offsets=offsets, weights=weights)
            check_vector(what, "values", values, int64=False)
            check_vector(what, "offsets", offsets)
            check_offsets(what, offsets, len(keys), len(values))
            check_weights(what, weights, len(values))
        self.keys = tuple(keys)
        self.values = values
        self.offsets = offsets
        self.weights = weights
        self._bounds: tuple[int, ...] | None = None
        self._own_offsets: tuple[Tensor, ...] | None = None

    @property
    def num_samples(self) -> int:
        return (len(self.offsets) - 1) // len(self.keys)

    @property
    def device(self) -> torch.device:
        return self.values.device

    def lengths(self) -> Tensor:
        """Number of values of each list, int64 [F * B]."""
        return self.offsets.diff()

    def bags(self, key: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """The lists of one feature: values, offsets [B + 1] from 0, weights.

        No values are copied, and every call gives the same offsets: do not change them.

        Raises:
            InputError: no such key.
        """
        number = key_number(self.keys, key)
        if self._own_offsets is None:
            self._own_offsets = own_offsets(len(self.keys), self.offsets)
        return bags_of(number, self.values, self._own_offsets[number], self.weights, self.bounds())

    def bounds(self) -> tuple[int, ...]:
        """Where the values of each feature begin, and the end: F + 1 numbers, read off the tensors once."""
        if self._bounds is None:
            self._bounds = key_bounds(len(self.keys), self.offsets)
        return self._bounds

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "KeyedJaggedTensor":
        """The same lists on a device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "KeyedJaggedTensor":
        """The same lists in page-locked memory; itself where there is no CUDA device to copy to."""
        return self._mapped(Tensor.pin_memory) if torch.cuda.is_available() else self

    def to_torchrec(self) -> Any:
        """The same lists as a `torchrec.KeyedJaggedTensor` (which shares the tensors).

        Raises:
            InputError: TorchRec is not installed.
        """
        return _torchrec().KeyedJaggedTensor(
            keys=list(self.keys),
            values=self.values,
            weights=self.weights,
            offsets=self.offsets,
            stride=self.num_samples,
        )

    @classmethod
    def from_torchrec(cls, kjt: Any) -> "KeyedJaggedTensor":
        """Take over a `torchrec.KeyedJaggedTensor`.

        Raises:
            InputError: TorchRec is not installed, the batch size varies between features, or the lists are broken.
        """
        _torchrec()
        if kjt.variable_stride_per_key():
            raise InputError(
                "a TorchRec KeyedJaggedTensor with a batch size per key has no plain form",
                todo="expand it by its inverse indices first",
            )
        return cls(kjt.keys(), kjt.values(), kjt.offsets().to(torch.int64), kjt.weights_or_none())

    def _mapped(self, move: Any) -> "KeyedJaggedTensor":
        weights = None if self.weights is None else move(self.weights)
        moved = KeyedJaggedTensor(self.keys, move(self.values), move(self.offsets), weights, validate=False)
        moved._bounds = self.bounds()
        return moved

    def __repr__(self) -> str:
        return f"KeyedJaggedTensor(keys={list(self.keys)}, num_samples={self.num_samples}, values={len(self.values)})"


def key_bounds(num_keys: int, offsets: Tensor) -> tuple[int, ...]:
    """Where the values of each key begin, and where the last one's end."""
    per_key = (len(offsets) - 1) // num_keys
    if per_key == 0:
        return (0,) * (num_keys + 1)
    return tuple(offsets[::per_key].tolist())


def key_number(keys: tuple[str, ...], key: str) -> int:
    """Place of a key among the keys.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return keys.index(key)
    except ValueError:
        raise unknown("key", key, keys) from None


def own_offsets(num_keys: int, offsets: Tensor) -> tuple[Tensor, ...]:
    """Offsets of each key's lists, counted from its own first value; ordinary tensors in inference mode too."""
    per_key = (len(offsets) - 1) // num_keys
    with torch.inference_mode(False):
        if per_key == 0:
            return (torch.zeros(1, dtype=offsets.dtype, device=offsets.device),) * num_keys
        by_key = offsets.unfold(0, per_key + 1, per_key)
        return (by_key - by_key[:, :1]).unbind()


def bags_of(
    number: int, values: Tensor, own_offsets: Tensor, weights: Tensor | None, bounds: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values, offsets and weights of the key of that number."""
    own = slice(bounds[number], bounds[number + 1])
    return values[own], own_offsets, None if weights is None else weights[own]


def _torchrec() -> Any:
    try:
        import torchrec.sparse.jagged_tensor as jagged_tensor
    except ImportError as error:
        raise InputError("TorchRec is not installed", got=str(error), todo="install it with `make peers`") from None
    return jagged_tensor
