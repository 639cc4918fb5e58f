"""What travels while a rank computes: ids of the next batch, and rows that the model has not asked for yet.

    step t          sizes t+1           ids t+1
    rows t ────────────┬───────────────>│
    answer t   read t+1, bottom MLP t   │ interaction, top MLP t, loss t, backward t          │ answer t+1
                                        └ ids t+1 ──────────────────────────────────────────> │

Nothing of it changes a result: rows of batch t+1 are looked up after the update of batch t, and every rank starts the
same exchanges in the same order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.batch import Batch, ModelInputs
from recfold.embed import Lookup, ShardedTables
from recfold.spec import InputError
from recfold.train.assemble import Assembled

Upcoming = Callable[[], Batch | None]
"""Takes the batch that will be trained on next; None where there is none."""


@dataclass
class Begun:
    """A batch whose lookup is under way.

    Args:
        batch: as it was read; prepared: as it is looked up.
        refused: why the tables would not look it up; it is said when its turn comes.
        sent_bytes: of the lookup so far, by kind.
    """

    batch: Batch
    prepared: Batch
    lookup: Lookup
    refused: InputError | None
    sent_bytes: dict[str, int]

    @property
    def is_asked(self) -> bool:
        """Whether its ids were sent, or will not be."""
        return self.lookup.ids is not None or self.refused is not None


class Overlap:
    """Lookups in tables over ranks, as far ahead as exactness allows.

    Args:
        assembled: the model's inputs.
        tables: of all ranks.
        prepare: makes of a batch what is looked up.
    """

    def __init__(self, assembled: Assembled, tables: ShardedTables, prepare: Callable[[Batch], Batch]) -> None:
        self._assembled, self._tables, self._prepare = assembled, tables, prepare
        self._next: Begun | None = None
        self._current: Lookup | None = None
        self._rows: dict[str, Tensor] = {}

    @property
    def ahead_bytes(self) -> Mapping[str, int]:
        """By kind, what was sent already for the batch that comes next."""
        return {} if self._next is None else self._next.sent_bytes

    def prepared(self, batch: Batch) -> Batch:
        """The batch as it is looked up: as it was announced, where it was."""
        return self._next.prepared if self._next is not None and self._next.batch is batch else self._prepare(batch)

    def inputs(self, prepared: Batch, upcoming: Upcoming | None = None) -> ModelInputs:
        """The inputs of a batch; their rows are waited for at the first look at them, or by `settle`.

        Args:
            upcoming: its batch is announced meanwhile; on all ranks or on none.
        Raises:
            InputError: on every rank, where the tables of one refuse its batch.
        """
        begun = self._next
        if begun is None or begun.prepared is not prepared:
            lookup = self._tables.begin(self._assembled.bags(prepared))
        else:
            self._next, lookup = None, begun.lookup
            if begun.refused is not None:
                raise begun.refused
        self._tables.answer(lookup)
        self._current, self._rows = lookup, {}
        following = None if upcoming is None else upcoming()
        if following is not None:
            self._announce(following)
        return self._assembled.arriving(prepared, self._arrived)

    def settle(self) -> None:
        """Wait for rows that the model has not looked at: every rank has to."""
        if self._current is not None:
            self._arrive()

    def drop(self) -> None:
        """Forget the batch that was announced: it will not be trained on. Every rank does so, or none."""
        begun, self._next = self._next, None
        if begun is not None and begun.lookup.ids is not None:
            begun.lookup.ids.wait()

    def _announce(self, batch: Batch) -> None:
        prepared, before = self._prepare(batch), self._tables.wire.peek()
        lookup = self._tables.announce(self._assembled.bags(prepared))
        self._next = Begun(batch, prepared, lookup, None, sent_since(before, self._tables.wire.peek()))

    def _arrived(self) -> dict[str, Tensor]:
        if self._current is not None:
            self._arrive()
        found, self._rows = self._rows, {}
        return found

    def _arrive(self) -> None:
        """Rows are here; now ids of the next batch have the wire to themselves until gradients need it."""
        assert self._current is not None
        lookup, self._current = self._current, None
        with torch.profiler.record_function("rows arrive"):
            self._rows = self._tables.finish(lookup)
        following = self._next
        if following is None or following.is_asked:
            return
        before = self._tables.wire.peek()
        try:
            self._tables.ask(following.lookup)
        except InputError as error:
            following.refused = error
        more = sent_since(before, self._tables.wire.peek())
        following.sent_bytes = {
            kind: following.sent_bytes.get(kind, 0) + more.get(kind, 0) for kind in {*following.sent_bytes, *more}
        }


def sent_since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Bytes by kind that were counted between two looks.

    >>> sent_since({"ids": 8}, {"ids": 24, "sizes": 4})
    {'ids': 16, 'sizes': 4}
    """
    return {kind: now[kind] - before.get(kind, 0) for kind in now if now[kind] > before.get(kind, 0)}
