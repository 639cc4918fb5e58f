"""The reader: batches of one rank, in an order that depends on (seed, epoch) only, resumable at every batch."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from recfold.batch import Batch
from recfold.reader.assemble import assemble, empty_arrays
from recfold.reader.cut import Arrays
from recfold.reader.dealing import Deal
from recfold.reader.layout import layout_of
from recfold.reader.order import load_units
from recfold.reader.pool import Pool
from recfold.reader.produce import Plan, Store, plan_of, produce
from recfold.reader.schema import effective_schema
from recfold.reader.settings import ReaderSettings
from recfold.reader.state import checked_deals, state_of
from recfold.reader.stored import key_columns
from recfold.reader.worker import job_line, start_line
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable, open_table


class Reader:
    """Batches of a split of a folded table.

    Iterating gives the rest of the current epoch; at its end the reader stands at the start of the next. Leaving the
    loop early and iterating again goes on where it stopped. A batch has `batch_size` samples, the epoch's last one what
    is left; ranks may have different numbers of batches (see `lockstep`).

    Args:
        table: a folded table or its path.
        split: `train` or `validation`.
        settings: order, batch size, workers.
        schema: its transforms, embedding tables and label weights replace the table's, and features that it leaves out
            are not read.
        rank, world_size: which process this is, of how many.
    Raises:
        InputError: no such table or split, a schema that does not fit the table, a rank that does not exist.

    Example:
        with Reader("folded/ebnerd", settings=ReaderSettings(batch_size=1024)) as reader:
            for batch in reader:
                ...
    """

    def __init__(
        self,
        table: FoldedTable | Path | str,
        split: str = "train",
        settings: ReaderSettings = ReaderSettings(),  # noqa: B008 (frozen)
        *,
        schema: Schema | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise InputError(f"there is no rank {rank} of {world_size}", expected="0 <= rank < world_size")
        self.table = table if isinstance(table, FoldedTable) else open_table(table)
        self.split = split
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.table.parts(split)
        self.schema = effective_schema(self.table.schema, schema)
        self._layout = layout_of(self.schema)
        self._units = load_units(self.table, split)
        self._store: Store | None = None
        self._pool: Pool | None = None
        self._stream: Iterator[Arrays] | None = None
        self._plan: Plan | None = None
        self._epoch = 0
        self._deals = self._fresh_deals()

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to, from 0."""
        return self._epoch

    @property
    def num_samples(self) -> int:
        """Samples that this rank still gets in the current epoch."""
        taken = self._deals[-1].steps * self.settings.batch_size
        return max(self._current_plan().share.num_samples - taken, 0)

    def places(self) -> np.ndarray:
        """Where each sample that this rank gets from the start of the current epoch stands in the epoch's order, int64.

        Joined over the ranks they are every number from 0 on, once: what ranks have made of their samples is put in
        the order of one process by them. It is of an epoch whose number of ranks and batch size never changed.
        """
        plan = self._current_plan()
        share, counts = plan.share, plan.course.units.num_samples
        first = np.cumsum(counts) - counts
        sizes = np.diff(share.bounds)
        return np.repeat(first[share.unit] + share.begin - share.bounds[:-1], sizes) + np.arange(share.num_samples)

    def num_batches(self) -> int:
        """Batches that this rank still gets in the current epoch."""
        return max(self._current_plan().num_batches - self._deals[-1].steps, 0)

    def num_steps(self) -> int:
        """Steps until every rank has read what it gets in the current epoch: the most batches that any rank has."""
        return max(self._current_plan().num_steps - self._deals[-1].steps, 0)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch, as far as this rank has any of it.

        Raises:
            InputError: a file is missing or damaged (it is named), or a worker died.
        """
        while self.num_batches():
            yield self._next_batch()
        self.set_epoch(self._epoch + 1)

    def lockstep(self) -> Iterator[Batch]:
        """The rest of the epoch, as many batches on every rank: empty ones where this rank has run out.

        Ranks that step together stay together, and the state of each is the state of all.
        """
        while self.num_steps():
            yield self._next_batch() if self.num_batches() else self._empty_batch()
        self.set_epoch(self._epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Stand at the start of an epoch."""
        if epoch < 0:
            raise InputError("an epoch is counted from 0", got=epoch)
        self._stop_stream()
        self._epoch = epoch
        self._deals = self._fresh_deals()
        self._plan = None

    def state_dict(self) -> dict[str, Any]:
        """Where every rank stands after this rank's last batch; plain JSON values.

        It assumes that ranks step together: each has taken as many batches as this one, or all it had.
        """
        return state_of(self.table.manifest.checksum, self.split, self.settings, self._epoch, self._deals)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the readers stood whose state this is.

        With the same number of ranks and batch size the batches are those of an uninterrupted run. Otherwise what no
        rank had taken is dealt out anew, each sample once.

        Raises:
            InputError: the state is of another table, split, order, seed, block size or shuffle window, or damaged.
        """
        epoch, deals = checked_deals(state, self.table.manifest.checksum, self.split, self.settings)
        self.set_epoch(epoch)
        fresh = self._deals[-1]
        if (deals[-1].world_size, deals[-1].batch_size) != (fresh.world_size, fresh.batch_size):
            deals = [*(deal for deal in deals if deal.steps), fresh]
        self._deals = deals

    def close(self) -> None:
        """End the worker processes; the reader can be used again."""
        self._stream = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fresh_deals(self) -> list[Deal]:
        return [Deal(self.world_size, self.settings.batch_size, 0)]

    def _current_plan(self) -> Plan:
        if self._plan is None:
            self._plan = plan_of(self._units, self.settings, self._epoch, self._deals, self.rank)
        return self._plan

    def _next_batch(self) -> Batch:
        if self._stream is None:
            self._stream = self._open_stream()
        try:
            arrays = next(self._stream)
        except BaseException:
            self.close()
            raise
        return self._stepped(arrays)

    def _empty_batch(self) -> Batch:
        available = self.table.columns(self.split)
        return self._stepped(empty_arrays(self._layout, list(key_columns(available)), "sample.weight" in available))

    def _stepped(self, arrays: Arrays) -> Batch:
        batch = assemble(self._layout, arrays)
        current = self._deals[-1]
        self._deals = [*self._deals[:-1], current._replace(steps=current.steps + 1)]
        return batch.pin_memory() if self.settings.pin_memory else batch

    def _open_stream(self) -> Iterator[Arrays]:
        first = self._deals[-1].steps
        if not self.settings.workers:
            if self._store is None:
                self._store = Store(self.table, self.split, self._layout)
            plan = self._current_plan()
            return produce(plan, self._store, range(first, plan.num_batches))
        num_workers = self.settings.workers
        if self._pool is None:
            self._pool = self._started_pool(num_workers)
        jobs = [job_line(self._epoch, self._deals, first + worker, num_workers) for worker in range(num_workers)]
        return self._pool.batches(jobs)

    def _started_pool(self, num_workers: int) -> Pool:
        shared = Store(self.table, self.split, self._layout).shared_dictionaries()
        try:
            checksum = self.table.manifest.checksum
            start = start_line(self.table.path, checksum, self.split, self.settings, self.schema, self.rank, shared)
            return Pool(start, num_workers, shared.fds())
        finally:
            shared.close()

    def _stop_stream(self) -> None:
        """Drop what was read ahead. Workers that are in the middle of it are ended; idle ones are kept."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        try:
            # lets the stream see its own end: row groups are dropped, workers are idle
            finished = not self.num_batches() and next(stream, None) is None
        except (InputError, RuntimeError):
            finished = False
        if self._pool is not None and not finished:
            self._pool.close()
            self._pool = None
