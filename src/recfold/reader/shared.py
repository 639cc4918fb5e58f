"""Transformed dictionaries in memory that the reader's workers map instead of each holding a copy."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recfold.reader.made import Made
from recfold.reader.memory import Entries, map_arrays, nameless_file, write_arrays
from recfold.transform import Lists


@dataclass(frozen=True)
class Block:
    """One dictionary in nameless memory.

    Args:
        fd: descriptor of the memory; a process that is started with it inherited can map it.
        entries: where its arrays are.
        num_rows: rows of the dictionary.
    """

    fd: int
    entries: Entries
    num_rows: int


@dataclass(frozen=True)
class Shared:
    """Group -> its dictionary."""

    blocks: dict[str, Block] = field(default_factory=dict)

    @staticmethod
    def of(made: Mapping[str, Made]) -> "Shared":
        """Copy transformed dictionaries into nameless memory."""
        blocks: dict[str, Block] = {}
        try:
            for group, rows in made.items():
                fd = nameless_file()
                blocks[group] = Block(fd, [], rows.num_rows)
                blocks[group] = Block(fd, write_arrays(fd, _arrays(rows)), rows.num_rows)
        except BaseException:
            Shared(blocks).close()
            raise
        return Shared(blocks)

    def map(self) -> dict[str, Made]:
        """The dictionaries as read-only views of the memory."""
        return {
            group: _made(map_arrays(block.fd, block.entries, writable=False), block.num_rows)
            for group, block in self.blocks.items()
        }

    def fds(self) -> tuple[int, ...]:
        return tuple(block.fd for block in self.blocks.values())

    def close(self) -> None:
        """Let go of the memory; whoever has mapped it keeps it."""
        for block in self.blocks.values():
            os.close(block.fd)
        self.blocks.clear()

    def as_json(self) -> dict[str, Any]:
        return {group: [block.fd, block.entries, block.num_rows] for group, block in self.blocks.items()}

    @staticmethod
    def of_json(blocks: Mapping[str, Any]) -> "Shared":
        return Shared({group: Block(*block) for group, block in blocks.items()})


def _arrays(made: Made) -> dict[str, np.ndarray]:
    arrays = {} if made.dense is None else {"dense": made.dense}
    for part, blocks in (("lists", made.lists), ("dense_lists", made.dense_lists)):
        for number, lists in enumerate(blocks):
            for noun in ("values", "weights", "start", "length"):
                array = getattr(lists, noun)
                if array is not None:
                    arrays[f"{part}.{number}.{noun}"] = array
    return arrays


def _made(arrays: Mapping[str, np.ndarray], num_rows: int) -> Made:
    return Made(_blocks("lists", arrays), _blocks("dense_lists", arrays), arrays.get("dense"), num_rows)


def _blocks(part: str, arrays: Mapping[str, np.ndarray]) -> tuple[Lists, ...]:
    names: Sequence[str] = [name.removesuffix(".values") for name in arrays if name.endswith(".values")]
    return tuple(
        Lists(
            values=arrays[f"{name}.values"],
            valid=None,
            weights=arrays.get(f"{name}.weights"),
            start=arrays[f"{name}.start"],
            length=arrays[f"{name}.length"],
        )
        for name in names
        if name.startswith(f"{part}.")
    )
