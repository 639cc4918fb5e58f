"""How many distinct ids a feature has: exact while they are few, a HyperLogLog sketch above."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

EXACT_LIMIT = 1 << 12
_REGISTER_BITS = 14
_REGISTERS = 1 << _REGISTER_BITS


@dataclass(frozen=True)
class Sketch:
    """A set of 64-bit hashes: `hashes` (sorted, distinct) while it is small, else the registers of HyperLogLog."""

    hashes: np.ndarray | None
    registers: np.ndarray | None

    def count(self) -> int:
        """Distinct hashes: exact below EXACT_LIMIT, else within about 1 % (0.8 % standard error).

        Source: Flajolet et al., "HyperLogLog" (2007), with linear counting for the small range.
        """
        if self.hashes is not None:
            return len(self.hashes)
        assert self.registers is not None
        alpha = 0.7213 / (1 + 1.079 / _REGISTERS)
        estimate = alpha * _REGISTERS**2 / float(np.sum(np.exp2(-self.registers.astype(np.float64))))
        empty = int(np.count_nonzero(self.registers == 0))
        if estimate <= 2.5 * _REGISTERS and empty:
            estimate = _REGISTERS * float(np.log(_REGISTERS / empty))
        return max(round(estimate), EXACT_LIMIT)


def sketch(hashes: np.ndarray) -> Sketch:
    """The sketch of some 64-bit hashes, repeats allowed.

    >>> sketch(np.array([3, 5, 3], np.uint64)).count()
    2
    """
    distinct = np.sort(hashes)
    distinct = distinct[np.diff(distinct, prepend=~distinct[:1]) != 0]
    if len(distinct) <= EXACT_LIMIT:
        return Sketch(distinct, None)
    return Sketch(None, _registers(distinct))


def union(sketches: list[Sketch]) -> Sketch:
    """The sketch of everything that any of them has seen."""
    small = [s.hashes for s in sketches if s.hashes is not None]
    large = [s.registers for s in sketches if s.registers is not None]
    merged = sketch(np.concatenate(small)) if small else Sketch(np.zeros(0, np.uint64), None)
    if not large:
        return merged
    registers = merged.registers if merged.registers is not None else _registers(merged.hashes)
    return Sketch(None, np.maximum.reduce([registers, *large]))


def save_sketches(path: Path, sketches: Mapping[str, Sketch]) -> None:
    """Write the sketches of some features into one file."""
    arrays = {f"hashes.{name}": found.hashes for name, found in sketches.items() if found.hashes is not None}
    arrays |= {f"registers.{name}": s.registers for name, s in sketches.items() if s.registers is not None}
    path.write_bytes(save(arrays))  # a full disk is an OSError so


def load_sketches(path: Path) -> dict[str, Sketch]:
    """The inverse of `save_sketches`."""
    found = {}
    for key, array in sorted(load_file(path).items()):
        kind, _, name = key.partition(".")
        found[name] = Sketch(array, None) if kind == "hashes" else Sketch(None, array)
    return found


def _registers(hashes: np.ndarray | None) -> np.ndarray:
    registers = np.zeros(_REGISTERS, np.uint8)
    if hashes is None or len(hashes) == 0:
        return registers
    index = (hashes >> np.uint64(64 - _REGISTER_BITS)).astype(np.int64)
    rest = hashes << np.uint64(_REGISTER_BITS)
    # position of the first 1 bit: frexp gives the exponent of the highest one; the top 53 bits decide it
    exponent = np.frexp((rest >> np.uint64(11)).astype(np.float64))[1]
    rank = np.where(rest >> np.uint64(11) == 0, 54, 54 - exponent).astype(np.uint8)
    np.maximum.at(registers, index, rank)
    return registers
