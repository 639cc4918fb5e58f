"""What folding saved in a batch."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FoldStats:
    """Counts of a group as stored and as its samples need them.

    Args:
        num_samples: B.
        num_distinct: U.
        lists, lists_plain: value lists, features x U and features x B.
        ids, ids_plain: values (merged values for windows), and values with every sample's list written out.
        stored_bytes, plain_bytes: of all tensors, folded and with every sample's list written out.

    Example:
        >>> FoldStats(4, 2, 2, 4, 3, 7, 56, 96).dedup_factor
        2.0
    """

    num_samples: int
    num_distinct: int
    lists: int
    lists_plain: int
    ids: int
    ids_plain: int
    stored_bytes: int
    plain_bytes: int

    @property
    def dedup_factor(self) -> float:
        """Samples per distinct list, B / U."""
        return _ratio(self.num_samples, self.num_distinct)

    @property
    def ids_factor(self) -> float:
        """Values that the samples need per value stored."""
        return _ratio(self.ids_plain, self.ids)

    @property
    def bytes_factor(self) -> float:
        """Bytes of the plain form per byte stored."""
        return _ratio(self.plain_bytes, self.stored_bytes)


def num_bytes(*tensors: Tensor | None) -> int:
    """Bytes that tensors hold; None counts nothing."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def _ratio(plain: int, stored: int) -> float:
    return plain / stored if stored else 1.0
