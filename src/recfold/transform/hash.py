"""hash: ids of any type to rows [0, rows)."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recfold.spec import splitmix64, xxh64_strings
from recfold.spec.hashing import splitmix64_reference
from recfold.spec.transforms import Hash
from recfold.transform.lists import Lists
from recfold.transform.row import Row

NULL_ID = -0x6E756C6C5F696421
"""What a null id counts as: it keeps its position in the list and hashes as this integer does."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_STEPS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_BLOCK = 1 << 14


def string_hashes(strings: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """xxh64 of each string, taken once per distinct string.

    Args:
        strings: Arrow array of strings, dictionary-encoded or not.
    Returns:
        uint64 hashes (0 where null) and bool validity (None: nothing is null).

    Example:
        >>> hashes, valid = string_hashes(pa.array(["a", None, "a"]))
        >>> [hex(x) for x in hashes], valid.tolist()
        (['0xd24ec4f1a98c6e5b', '0x0', '0xd24ec4f1a98c6e5b'], [True, False, True])
    """
    encoded = strings if pa.types.is_dictionary(strings.type) else strings.dictionary_encode()
    distinct = xxh64_strings(value or "" for value in encoded.dictionary.to_pylist())
    if not encoded.null_count:
        return distinct[encoded.indices.to_numpy()], None
    valid = encoded.is_valid().to_numpy(zero_copy_only=False)
    if not valid.any():
        return np.zeros(len(encoded), dtype=np.uint64), valid
    hashes = distinct[encoded.indices.fill_null(0).to_numpy()]
    hashes[~valid] = 0
    return hashes, valid


def id_hashes(lists: Lists, seed: int = 0) -> np.ndarray:
    """A 64-bit hash of every id of the buffer: splitmix64 of an integer, xxh64 of a string.

    Args:
        lists: of ids.
        seed: other seeds give independent hashes (a string's xxh64 is then mixed once more).
    Returns:
        uint64 [V]; a null id hashes as `NULL_ID`.
    """
    values, valid = lists.values, lists.valid
    if isinstance(values, pa.Array):
        values, valid = string_hashes(values)
    if values.dtype == np.uint64:
        hashes = values if seed == 0 else splitmix64(values.view(np.int64), seed)
    else:
        hashes = splitmix64(values, seed)
    if valid is not None:
        hashes = np.where(valid, hashes, splitmix64(np.array([NULL_ID]), seed))
    return hashes


def mixed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One hash of two, in this order: splitmix64(first * golden + second), uint64."""
    with np.errstate(over="ignore"):
        return splitmix64((first * np.uint64(_GOLDEN) + second).view(np.int64))


def to_rows(hashes: np.ndarray, rows: int) -> np.ndarray:
    """uint64 hashes modulo `rows`, as int64."""
    if rows & (rows - 1) == 0:
        return (hashes & np.uint64(rows - 1)).view(np.int64)
    # numpy divides by a scalar with vector instructions, but takes a remainder one by one
    quotient = hashes // np.uint64(rows)
    quotient *= np.uint64(rows)
    return np.subtract(hashes, quotient, out=quotient).view(np.int64)


def hashed_rows(ids: np.ndarray, seed: int, rows: int) -> np.ndarray:
    """`to_rows(splitmix64(ids, seed), rows)`, its slow twin, in blocks that stay in the cache: int64 [V].

    Args:
        ids: integers of any type but uint64.
    """
    out = np.empty(len(ids), dtype=np.uint64)
    scratch = np.empty(min(_BLOCK, len(ids)), dtype=np.uint64)
    gamma = np.uint64(_GOLDEN * (seed + 1) & _MASK)
    for first in range(0, len(ids), _BLOCK):
        z = out[first : first + _BLOCK]
        other = scratch[: len(z)]
        z.view(np.int64)[:] = ids[first : first + _BLOCK]
        z += gamma
        for shift, factor in _STEPS:
            np.right_shift(z, shift, out=other)
            z ^= other
            z *= factor
        np.right_shift(z, np.uint64(31), out=other)
        z ^= other
        if rows & (rows - 1) == 0:
            z &= np.uint64(rows - 1)
            continue
        # numpy divides by a scalar with vector instructions, but takes a remainder one by one
        np.floor_divide(z, np.uint64(rows), out=other)
        other *= np.uint64(rows)
        z -= other
    return out.view(np.int64)


def hash_ids(lists: Lists, spec: Hash) -> Lists:
    """Every id to a row of a table: hash modulo `spec.rows`; nothing is null afterwards.

    Example:
        >>> hash_ids(Lists.from_pylists([[7, 7, None]]), Hash(rows=100)).to_pylists()
        [[87, 87, 37]]
    """
    if lists.valid is None and isinstance(lists.values, np.ndarray) and lists.values.dtype != np.uint64:
        return replace(lists, values=hashed_rows(lists.values, spec.seed, spec.rows))
    return replace(lists, values=to_rows(id_hashes(lists, spec.seed), spec.rows), valid=None)


def id_hash_reference(value: int | str | None, seed: int = 0) -> int:
    """The slow twin of `id_hashes` for one id."""
    if isinstance(value, str):
        digest = int(xxh64_strings([value])[0])
        return digest if seed == 0 else splitmix64_reference((digest + seed * _GOLDEN) & _MASK)
    number = NULL_ID if value is None else value
    return splitmix64_reference((number + seed * _GOLDEN) & _MASK)


def mixed_reference(first: int, second: int) -> int:
    """The slow twin of `mixed`."""
    return splitmix64_reference((first * _GOLDEN + second) & _MASK)


def hash_reference(row: Row, spec: Hash) -> Row:
    """The slow twin of `hash_ids` for one list."""
    return Row([id_hash_reference(value, spec.seed) % spec.rows for value in row.values], row.weights)
