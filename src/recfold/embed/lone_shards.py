"""Shards without a model around them: what one rank would look up and update, to be measured."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recfold.embed.bags import Bags
from recfold.embed.kernel_choice import KernelName, choose_kernels
from recfold.embed.ops import build_kernels
from recfold.embed.resolved_table import resolve_all
from recfold.embed.shared_storage import SharedStorage
from recfold.optim import Joined
from recfold.spec import TableSpec


class LoneShards:
    """Tables of given shapes with an update rule each, on the kernels that training uses.

    Their weights are whatever is in the memory; what they learn means nothing.

    Args:
        shapes: (rows, dim) of each.
        alike: a key of each; those of one key always have equally many bags and share an op, None has its own.
        storage: for FBGEMM's weights; None allocates.
        kernel: `auto`, `fbgemm` or `torch`.
        optimizer: update rule of all.
    Raises:
        InputError: a table is larger than the storage, or a wrong kernel or optimizer.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        alike: Sequence[object | None],
        *,
        storage: SharedStorage | None = None,
        device: torch.device | str = "cpu",
        kernel: KernelName = "auto",
        optimizer: str = "rowwise_adagrad",
    ) -> None:
        self.device = torch.device(device)
        if storage is not None:
            storage.restart_()
        specs = {str(number): TableSpec(rows=rows, dim=dim) for number, (rows, dim) in enumerate(shapes)}
        tables = resolve_all(specs, {"optimizer": optimizer}, torch.float32)
        choice = choose_kernels(list(tables.values()), kernel, self.device)
        keys: Mapping[str, object] = {str(n): key for n, key in enumerate(alike) if key is not None}
        self.kernels = build_kernels(tables, keys, choice, self.device, storage)
        self._places = [[int(table.name) for table in kernel.tables] for kernel in self.kernels]

    def look_up(self, bags: Sequence[Bags]) -> list[Tensor]:
        """Sums [N, D] of the bags of each table."""
        sums: dict[int, Tensor] = {}
        for kernel, places in zip(self.kernels, self._places, strict=True):
            joined = [Joined(bags[place].values, bags[place].offsets, bags[place].weights) for place in places]
            sums |= zip(places, kernel(joined), strict=True)
        return [sums[place] for place in range(len(bags))]
