"""The dense gradient over ranks: summed in buckets that travel while backward goes on.

A rank's loss is its part of a loss that is normalised over all ranks, so gradients are summed and not averaged. A
parameter that no rank's loss depends on keeps no gradient, as in one process.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recfold.comm import UnderWay, Wire
from recfold.train.ranks import Ranks, losses

BUCKET_BYTES = 1 << 20


class GradientSums:
    """Sums the gradients of all ranks, a bucket of parameters at a time, last parameters first.

    A bucket is sent as soon as backward has reached all of it and every bucket before it is under way, so that every
    rank sends them in one order. Behind a bucket's gradients travels one number a parameter: whether it has any.

    Args:
        parameters: the same on every rank, all on one device and of one dtype.
        ranks: who sums.

    Attributes:
        wire: counts, under the kind `dense`, what a ring all-reduce sends: 2 (N - 1) / N of a bucket's bytes from each
            of N ranks, rounded down. It is computed: Gloo and NCCL choose how they sum.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], ranks: Ranks, *, bucket_bytes: int = BUCKET_BYTES) -> None:
        self.wire = Wire()
        self._group, self._ranks = ranks.dense_group, ranks.size
        self._buckets = _buckets(parameters, bucket_bytes)
        self._waiting = [len(bucket) for bucket in self._buckets]
        self._sent: list[tuple[Tensor, UnderWay]] = []
        for number, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(lambda _, number=number: self._reached(number))

    def finish(self) -> None:
        """Wait until every parameter's `.grad` is the sum over ranks; called after backward.

        Raises:
            LostRank: a rank has gone.
        """
        with losses():
            while len(self._sent) < len(self._buckets):
                self._send(self._buckets[len(self._sent)])
            for bucket, (flat, under_way) in zip(self._buckets, self._sent, strict=True):
                under_way.wait()
                _take(bucket, flat)
        self._sent = []
        self._waiting = [len(bucket) for bucket in self._buckets]

    def _reached(self, number: int) -> None:
        self._waiting[number] -= 1
        while len(self._sent) < len(self._buckets) and self._waiting[len(self._sent)] == 0:
            self._send(self._buckets[len(self._sent)])

    def _send(self, bucket: Sequence[nn.Parameter]) -> None:
        parts = [torch.zeros_like(p).view(-1) if p.grad is None else p.grad.reshape(-1) for p in bucket]
        flags = torch.tensor([float(p.grad is not None) for p in bucket]).to(parts[0])
        flat = torch.cat([*parts, flags])
        self.wire.add("dense", 2 * (self._ranks - 1) * flat.numel() * flat.element_size() // self._ranks)
        with torch.profiler.record_function("send dense"):
            work = dist.all_reduce(flat, group=self._group, async_op=True)
        assert work is not None
        self._sent.append((flat, UnderWay(work, "dense", self.wire)))


def _take(bucket: Sequence[nn.Parameter], flat: Tensor) -> None:
    *parts, flags = flat.split([*(parameter.numel() for parameter in bucket), len(bucket)])
    for parameter, part, found in zip(bucket, parts, flags.tolist(), strict=True):
        parameter.grad = part.view_as(parameter) if found > 0 else None


def _buckets(parameters: Sequence[nn.Parameter], bucket_bytes: int) -> list[list[nn.Parameter]]:
    """Parameters from last to first, cut where a bucket is full."""
    buckets: list[list[nn.Parameter]] = []
    size = bucket_bytes
    for parameter in reversed(parameters):
        if size >= bucket_bytes:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.numel() * parameter.element_size()
    return buckets
