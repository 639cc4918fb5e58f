"""The two hash functions that recfold names in its manifests: splitmix64 for integers, xxh64 for strings."""

from collections.abc import Iterable

import numpy as np
import xxhash

INTEGER_HASH = "splitmix64"
STRING_HASH = "xxh64"

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def splitmix64(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """One splitmix64 step of each integer (Steele, Lea, Flood 2014), vectorised.

    Args:
        values: any integer array; read as 64 bits two's complement.
        seed: added in units of the golden gamma; other seeds give independent hashes.
    Returns:
        uint64 array of the same shape.

    Example:
        >>> [hex(x) for x in splitmix64(np.array([0, -1]))]
        ['0xe220a8397b1dcdaf', '0xe4d971771b652c20']
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.int64, copy=False).view(np.uint64) + _GAMMA * np.uint64((seed + 1) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def splitmix64_reference(value: int) -> int:
    """The slow twin of `splitmix64` for one integer."""
    mask = (1 << 64) - 1
    z = (value + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def xxh64_strings(values: Iterable[str]) -> np.ndarray:
    """xxh64 (seed 0) of the UTF-8 bytes of each string, as uint64.

    Hash the distinct strings only: this loops over them.

    >>> [hex(x) for x in xxh64_strings(["", "a"])]
    ['0xef46db3751d8e999', '0xd24ec4f1a98c6e5b']
    """
    digest = xxhash.xxh64_intdigest
    return np.fromiter((digest(value.encode()) for value in values), dtype=np.uint64)
