"""Weights of many ops, one after the other, in one piece of memory: to allocate gigabytes anew takes longer than to
measure what is in them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recfold.embed.huge_pages import use_huge_pages_
from recfold.spec import InputError

AT_LEAST_NUMBERS = 1 << 16


class UntouchedMemory(TorchFunctionMode):
    """In its block `torch.zeros` of large sizes on a CPU reserves memory and does not write to it: what is in it is not
    known, and it costs nothing until it is used."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.zeros and args and _numbers(args[0]) >= AT_LEAST_NUMBERS:
            return torch.empty(*args, **kwargs)
        return func(*args, **kwargs)


def _numbers(size: object) -> int:
    if isinstance(size, int):
        return size
    if isinstance(size, Sequence) and all(isinstance(length, int) for length in size):
        return torch.Size(size).numel()
    return 0


class SharedStorage:
    """Memory that tables lie in one after the other; where the next does not fit, it starts at the front again and
    shares numbers with those that lie there.

    Args:
        num_bytes: of it; written once, in large pages.

    Example:
        >>> storage = SharedStorage(64)
        >>> [storage.take(rows, dim) for rows, dim in ((2, 4), (1, 4), (2, 4))]
        [0, 8, 0]
    """

    def __init__(self, num_bytes: int) -> None:
        numbers = torch.empty(num_bytes // 4)
        use_huge_pages_(numbers)
        self.numbers = numbers.zero_()
        self._free = 0

    def restart_(self) -> None:
        """The next table lies at the front."""
        self._free = 0

    def take(self, rows: int, dim: int) -> int:
        """Where a table starts.

        Raises:
            InputError: it is larger than all of it.
        """
        size = rows * dim
        if size > len(self.numbers):
            raise InputError(
                "a table does not fit the memory it is measured in",
                got=f"{4 * size:,} bytes",
                expected=f"at most {4 * len(self.numbers):,}",
                todo="cut it, or give the measurement more memory",
            )
        start = self._free if self._free + size <= len(self.numbers) else 0
        self._free = start + size
        return start

    def hold_(self, op: Any, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Let FBGEMM's op have its weights here.

        Args:
            shapes: (rows, dim) of each table.
        Returns:
            The weight [R, D] of each.
        """
        starts = [self.take(rows, dim) for rows, dim in shapes]
        op.weights_host.data = self.numbers
        op.weights_offsets.copy_(torch.tensor(starts))
        return [
            self.numbers[start : start + rows * dim].view(rows, dim)
            for start, (rows, dim) in zip(starts, shapes, strict=True)
        ]
