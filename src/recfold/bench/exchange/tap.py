"""What leaves this rank, counted at the collectives of `torch.distributed` themselves, whoever calls them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import Tensor

SPARSE = ("ids", "vectors", "gradients", "messages")
"""Kinds that count as sparse traffic."""


class Tap:
    """Bytes by kind since they were last taken; what a rank sends to itself is not counted.

    `ids` are whole numbers of an all-to-all (ids, lengths and sizes), `messages` its bytes, which may hold anything;
    rows are `vectors`, inside `during("gradients")` gradients. `dense` is the payload of all-reduces, `numbers` that of
    all-gathers, once for each receiver.

    Only what Python calls by `torch.distributed.<name>` is seen: DistributedDataParallel reduces its buckets below.
    """

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._rows = "vectors"

    def take(self) -> dict[str, int]:
        """Bytes by kind; counting starts again."""
        taken, self._bytes = dict(self._bytes), Counter()
        return taken

    @contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """Rows of an all-to-all are of this kind inside."""
        before, self._rows = self._rows, kind
        try:
            yield
        finally:
            self._rows = before

    def all_to_all_single(
        self,
        output: Tensor,
        input: Tensor,
        output_split_sizes: Sequence[int] | None = None,
        input_split_sizes: Sequence[int] | None = None,
        group: Any = None,
        **more: Any,
    ) -> None:
        """Count a call with these arguments."""
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        own = input_split_sizes[rank] if input_split_sizes else len(input) // ranks
        row_bytes = input.element_size() * (input.numel() // len(input)) if len(input) else 0
        kind = self._rows if input.is_floating_point() else "messages" if input.element_size() == 1 else "ids"
        self._bytes[kind] += (len(input) - own) * row_bytes

    def all_reduce(self, tensor: Tensor, *args: Any, **more: Any) -> None:
        """Count a call with these arguments."""
        self._bytes["dense"] += tensor.numel() * tensor.element_size()

    def all_gather(self, tensors: Sequence[Tensor], tensor: Tensor, *args: Any, **more: Any) -> None:
        """Count a call with these arguments."""
        self._bytes["numbers"] += (len(tensors) - 1) * tensor.numel() * tensor.element_size()


@contextmanager
def tapped() -> Iterator[Tap]:
    """Count inside."""
    tap = Tap()
    counters: dict[str, Callable[..., None]] = {
        "all_to_all_single": tap.all_to_all_single,
        "all_reduce": tap.all_reduce,
        "all_gather": tap.all_gather,
    }
    before = {name: getattr(dist, name) for name in counters}

    def counting(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counters[name](*args, **kwargs)
            return before[name](*args, **kwargs)

        return call

    for name in counters:
        setattr(dist, name, counting(name))
    try:
        yield tap
    finally:
        for name, own in before.items():
            setattr(dist, name, own)
