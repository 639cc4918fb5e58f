"""The ranks of a job: which one this is, and the small things that ranks tell each other.

Everything here travels as CPU tensors, JSON or safetensors: nothing that a rank receives is unpickled. One process
alone is `Ranks()`, for which every call is the obvious one and no process group exists.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor

from recfold.spec import InputError

T = TypeVar("T")
_SIGNS_OF_LOSS = ("connection closed", "connection reset", "broken pipe", "timed out", "gloo", "nccl", "socket")


class OtherRankFailed(InputError):
    """All ranks stop because of what another one reports; this one has nothing to add."""


class LostRank(InputError):
    """Another rank has gone, or does not answer within the timeout."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Args:
        rank: which one, from 0; rank 0 prints, and writes the run's files.
        size: how many.
        group: of all of them; None for one process alone.
        dense_group, tables_group: of all of them too: gradients of the dense part, and ids and rows of the tables, each
            travel in a group of their own and mix with no other traffic.
    """

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None
    dense_group: dist.ProcessGroup | None = None
    tables_group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def numbers(self, own: list[float]) -> Tensor:
        """The numbers of every rank, float64 [size, len(own)].

        Raises:
            LostRank: a rank has gone.
        """
        mine = torch.tensor([own], dtype=torch.float64)
        if self.size == 1:
            return mine
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        with losses():
            dist.all_gather(parts, mine, group=self.group)
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """Whether any rank says yes."""
        return flag if self.size == 1 else bool(self.numbers([float(flag)]).any())

    def gather(self, value: Any) -> list[Any]:
        """The JSON value of every rank, on every rank."""
        if self.size == 1:
            return [value]
        return [json.loads(part) for part in self._bytes_of_all(json.dumps(value).encode())]

    def first(self, value: T) -> T:
        """The JSON value of rank 0, on every rank."""
        return value if self.size == 1 else self.gather(value if self.is_first else None)[0]

    def gather_arrays(self, arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]] | None:
        """The named arrays of every rank in rank order, on rank 0; None on the others."""
        if self.size == 1:
            return [arrays]
        mine = np.frombuffer(save_arrays(arrays), dtype=np.uint8)
        sizes = [int(size) for size in self.numbers([float(len(mine))])[:, 0]]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(mine)] = torch.from_numpy(mine.copy())
        parts = [torch.empty_like(padded) for _ in sizes] if self.is_first else None
        with losses():
            dist.gather(padded, parts, dst=0, group=self.group)
        if parts is None:
            return None
        return [load_arrays(part[:size].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)]

    def together(self, work: Callable[[], T], *, only_first: bool = False) -> T | None:
        """Do something on every rank; where it fails on any, all stop and one of them says why.

        Args:
            only_first: rank 0 alone does it; the others wait for it and get None.
        Raises:
            InputError: its own, on the first rank that has one.
            OtherRankFailed: on the others.
        """
        result, failed = None, None
        try:
            if self.is_first or not only_first:
                result = work()
        except InputError as error:
            failed = error
        if self.size > 1:
            flags = self.numbers([float(failed is not None)])[:, 0]
            if flags.any() and int(flags.nonzero()[0]) != self.rank:
                raise OtherRankFailed(f"rank {int(flags.nonzero()[0])} has failed") from failed
        if failed is not None:
            raise failed
        return result

    def wait_for_all(self) -> None:
        """Return when every rank has come here."""
        self.any(False)

    def _bytes_of_all(self, own: bytes) -> list[bytes]:
        sizes = [int(size) for size in self.numbers([float(len(own))])[:, 0]]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
        parts = [torch.empty_like(padded) for _ in sizes]
        with losses():
            dist.all_gather(parts, padded, group=self.group)
        return [part[:size].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]


def current_ranks() -> Ranks:
    """The ranks of the process group that this process is in; itself alone where there is none.

    The first call in a process group is one that all ranks make.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    world = dist.group.WORLD
    if dist.get_world_size() == 1:
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), world, *_further_groups(world))


@cache
def _further_groups(world: dist.ProcessGroup) -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    return dist.new_group(), dist.new_group()


def is_rank() -> bool:
    """Whether a launcher such as torchrun has started this process as one of several ranks."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group(device: str, timeout_s: float) -> Iterator[Ranks]:
    """Join the other ranks that the launcher has started; alone where it has started one or there is none.

    Args:
        device: as `train.device`: decides whether NCCL serves beside Gloo.
        timeout_s: how long a rank that does not answer is waited for.
    Raises:
        LostRank: the others do not come.
    """
    if not is_rank() or dist.is_initialized():
        yield current_ranks()
        return
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    if cuda and torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    with losses():
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    try:
        yield current_ranks()
    finally:
        dist.destroy_process_group()


def local_device() -> torch.device:
    """The GPU of this rank: that of its number on its machine."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % max(torch.cuda.device_count(), 1))


@contextmanager
def losses() -> Iterator[None]:
    """Inside it a collective that fails because a rank has gone raises `LostRank`."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not any(sign in text for sign in _SIGNS_OF_LOSS):
            raise
        raise LostRank("another rank has gone or does not answer", got=str(error).strip().splitlines()[-1]) from None
