"""Batches of an epoch in lockstep with other ranks, of which one may be taken before its turn."""

from collections.abc import Iterator
from typing import Any

from recfold.batch import Batch
from recfold.reader import Reader


class Feed:
    """A reader whose position is that of the batch which was given last, although the next one may be read already.

    Example:
        for batch in feed.epoch():
            following = feed.ahead()  # the batch of the next turn; None at the end of the epoch
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._batches: Iterator[Batch] = iter(())
        self._taken: list[Batch | None] = []
        self._position: tuple[dict[str, Any], int] | None = None

    def epoch(self) -> Iterator[Batch]:
        """The rest of the epoch; as many batches on every rank, empty ones where this one has run out."""
        self._batches = self._reader.lockstep()
        while (batch := self._turn()) is not None:
            yield batch

    def ahead(self) -> Batch | None:
        """The batch of the next turn; None where the epoch ends."""
        if not self._taken:
            self._position = (self._reader.state_dict(), self._reader.num_steps())
            self._taken.append(next(self._batches, None))
        return self._taken[0]

    def state_dict(self) -> dict[str, Any]:
        """Where the reader stands after the batch that was given last."""
        return self._reader.state_dict() if self._position is None else self._position[0]

    def num_steps(self) -> int:
        """Steps of the epoch that are left after the batch that was given last."""
        return self._reader.num_steps() if self._position is None else self._position[1]

    def _turn(self) -> Batch | None:
        self._position = None
        return self._taken.pop() if self._taken else next(self._batches, None)
