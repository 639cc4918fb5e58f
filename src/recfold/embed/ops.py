"""Kernel calls of a step, and what goes into them and comes out."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from recfold.embed.bags import Bags
from recfold.embed.fbgemm_kernel import FbgemmKernel
from recfold.embed.kernel_choice import KernelChoice
from recfold.embed.resolved_table import ResolvedTable
from recfold.embed.shared_storage import SharedStorage
from recfold.embed.torch_kernel import TorchKernel
from recfold.optim import Joined, State
from recfold.spec import Read


class Kernel(Protocol):
    """What looks up and updates one or more tables."""

    tables: tuple[ResolvedTable, ...]

    def weights(self) -> list[Tensor]:
        """The live weight [R, D] of each table."""

    def states(self) -> list[State]:
        """What the update rule of each table keeps, live."""

    def __call__(self, joined: Sequence[Joined]) -> list[Tensor]:
        """The sum of each bag's rows, [N, D] a table."""


def build_kernels(
    tables: Mapping[str, ResolvedTable],
    alike: Mapping[str, object],
    choice: KernelChoice,
    device: torch.device,
    storage: SharedStorage | None = None,
) -> tuple[Kernel, ...]:
    """Tables to kernels: one for all that torch serves; of FBGEMM, one for tables that always have equally many bags
    and are updated alike, or several where torch may use several threads.

    Args:
        alike: table -> a key that tables with equally many bags share; a table that is not named gets an op of its own.
        storage: of FBGEMM's float32 weights, for measurements; see `FbgemmKernel`.
    """
    members: dict[object, list[str]] = {}
    for name, table in tables.items():
        key: object = None
        if choice.kernels[name] == "fbgemm":
            rule = (table.dtype, table.optimizer.name, table.settings)
            key = (alike[name], *rule) if name in alike else name
        members.setdefault(key, []).append(name)
    kernels: list[Kernel] = []
    served = [table for name, table in tables.items() if choice.kernels[name] == "fbgemm"]
    most = sum(table.dim for table in served) / (OPS_PER_THREAD * torch.get_num_threads())
    for names in members.values():
        own = tuple(tables[name] for name in names)
        if choice.kernels[names[0]] == "fbgemm":
            assert choice.module is not None
            parts = 1 if torch.get_num_threads() == 1 else math.ceil(sum(table.dim for table in own) / most)
            kernels += [FbgemmKernel(own[n::parts], choice.module, storage) for n in range(min(parts, len(own)))]
        else:
            kernels.append(TorchKernel(own, device))
    return tuple(kernels)


OPS_PER_THREAD = 1.5
"""Several ops a thread share the work evenly; each costs a third of a millisecond a step beside its work."""


def have_equal_bags(reads: Mapping[str, Sequence[Read]], together: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """`alike` of `build_kernels` for tables with one read: its batch group, and whether it is a bag per id.

    Args:
        reads: table -> its reads.
        together: feature -> its batch group.
    """
    return {
        name: (together[first.feature], first.mode == "rows")
        for name, (first, *more) in reads.items()
        if not more and first.feature in together
    }


def split_reads(reads: Sequence[Read], bags: Mapping[str, Bags], sums_ND: Tensor) -> dict[str, Tensor]:
    """The outputs of a table's reads from the sums of their joined bags."""
    parts = sums_ND.split([bags[read.feature].num_bags(read.mode) for read in reads]) if len(reads) > 1 else [sums_ND]
    found = {}
    for read, part in zip(reads, parts, strict=True):
        found[read.feature] = part / lengths_U1(bags[read.feature], part.dtype) if read.mode == "mean" else part
    return found


def lengths_U1(bags: Bags, dtype: torch.dtype) -> Tensor:
    """What a mean divides by, [U, 1]: the number of ids, 1 for an empty list."""
    return bags.offsets.diff().clamp_(min=1).to(dtype).unsqueeze(1)
