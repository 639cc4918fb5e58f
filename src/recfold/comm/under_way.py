"""One asynchronous collective: when it was sent, when it was done, and how long it was waited for."""

import time

import torch
import torch.distributed as dist

from recfold.comm.wire import Span, Wire


class UnderWay:
    """A collective that has been started; `wait` may be called more than once.

    When it is done is noted by a callback of its future, which runs on the thread of `torch.distributed` that completes
    the work and not on the one that waits. That thread needs Python's lock, which operations of torch give up while
    they run, so that the time is late by what Python does between two of them: usually well below a millisecond. It is
    never taken to be later than the end of the wait. Gloo completes a work when its bytes are there; NCCL's futures are
    done when the work is queued on the device, so that there only a trace tells. Only a `Wire` that is `timed` pays
    for callbacks; of what was sent before it was timed no span is kept, because nobody noted when it was done.

    Args:
        work: of `torch.distributed`.
        kind: names it in a trace ("wait for ids") and in figures.
        wire: counts waits, and keeps spans where it is timed.
    """

    def __init__(self, work: dist.Work, kind: str, wire: Wire) -> None:
        self._work: dist.Work | None = work
        self._kind, self._wire = kind, wire
        self._sent = time.perf_counter()
        self._done: float | None = None
        self._timed = wire.timed
        if self._timed:
            work.get_future().add_done_callback(self._note_end)

    def wait(self) -> None:
        """Return when it is done."""
        if self._work is None:
            return
        start = time.perf_counter()
        with torch.profiler.record_function(f"wait for {self._kind}"):
            self._work.wait()
        end = time.perf_counter()
        self._work = None
        self._wire.add_wait(self._kind, 1e3 * (end - start))
        if self._timed and self._wire.timed:
            done = end if self._done is None else min(self._done, end)
            self._wire.add_span(Span(self._kind, self._sent, done, max(done - start, 0.0)))

    def _note_end(self, _: object) -> None:
        self._done = time.perf_counter()
