"""Collectives over `torch.distributed` (Gloo or NCCL); an exchange under way is one object with `wait()`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from recfold.comm.under_way import UnderWay
from recfold.comm.wire import Wire
from recfold.spec import InputError

LONGEST_TEXT_BYTES = 2048


class Exchange:
    """A message to every peer and one from each, under way.

    Args:
        received: uint8, filled when `under_way` is done.
        message: what was sent; kept until then.
        under_way: None where nothing has to travel.
    """

    def __init__(self, received: Tensor, message: "Message", under_way: UnderWay | None) -> None:
        self._received, self._message, self._under_way = received, message, under_way

    def wait(self) -> list[Tensor]:
        """The message [bytes] of each rank, uint8."""
        if self._under_way is not None:
            self._under_way.wait()
            self._under_way = None
        return list(self._received.split(list(self._message.expected)))


@dataclass(frozen=True, eq=False)
class Message:
    """What a rank sends to every other one, and how much it gets from each.

    Args:
        content: uint8, the messages to ranks 0, 1, ... one after the other; what stays is left out.
        to: bytes to each rank, 0 to oneself.
        expected: bytes from each rank.
        kind: names it in a trace ("wait for ids") and where waits are counted.
    """

    content: Tensor
    to: Sequence[int]
    expected: Sequence[int]
    kind: str


def all_to_all(message: Message, group: dist.ProcessGroup | None, wire: Wire) -> Exchange:
    """Start to send a message to every rank; every rank of the group has to.

    Args:
        wire: counts the time that the exchange is waited for (who packs a message counts its bytes).
    """
    received = message.content.new_empty(sum(message.expected))
    if len(message.to) == 1:
        return Exchange(received, message, None)
    split = list(message.expected), list(message.to)
    with torch.profiler.record_function(f"send {message.kind}"):
        work = dist.all_to_all_single(received, message.content, *split, group=group, async_op=True)
    assert work is not None
    return Exchange(received, message, UnderWay(work, message.kind, wire))


def gather_texts(text: str, group: dist.ProcessGroup | None, device: torch.device) -> list[str]:
    """Every rank's text, on every rank; at most 2,048 bytes of each."""
    ranks = dist.get_world_size(group)
    own = torch.zeros(LONGEST_TEXT_BYTES, dtype=torch.uint8)
    written = text.encode()[:LONGEST_TEXT_BYTES]
    if written:
        own[: len(written)] = torch.frombuffer(bytearray(written), dtype=torch.uint8)
    own = own.to(device)
    all_texts = [torch.empty_like(own) for _ in range(ranks)]
    dist.all_gather(all_texts, own, group=group)
    return [bytes(part.tolist()).rstrip(b"\0").decode(errors="replace") for part in all_texts]


def stop_together(problem: str, group: dist.ProcessGroup | None, device: torch.device) -> None:
    """Raise on every rank where one has a problem; every rank of the group has to call.

    Args:
        problem: what is wrong on this rank; "" for nothing.
    Raises:
        InputError: the same on every rank, naming the ranks that have a problem and what the first one is.
    """
    problems = {rank: text for rank, text in enumerate(gather_texts(problem, group, device)) if text}
    if problems:
        first = min(problems)
        more = f" (and on ranks {', '.join(str(r) for r in problems if r != first)})" if len(problems) > 1 else ""
        raise InputError(f"on rank {first}{more}: {problems[first]}")
