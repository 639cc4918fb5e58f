"""A trace of a few training steps of each rank, and how much of what travelled was hidden behind other work.

`RUN/trace/rank-R.json` is a Chrome trace (chrome://tracing, ui.perfetto.dev) of torch.profiler with named ranges: cut
lists, send sizes, send ids, look up, send vectors, forward, rows arrive, backward, send gradients, send dense, update
tables, update dense, and `wait for` each of them. A row `wire`, which torch.profiler knows nothing of, is added: when
each exchange was under way on this rank.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from recfold.comm import Span, Wire
from recfold.spec import Settings
from recfold.train.ranks import Ranks

STEPS_BEFORE, STEPS_TRACED = 2, 5
KINDS = ("sizes", "ids", "vectors", "gradients", "norms", "dense")
TRACE = "trace"
_CLOCK = "recfold clock"


class Hidden(Settings):
    """How long exchanges were under way and were waited for: means over the traced steps and the ranks.

    Args:
        under_way_ms: kind -> milliseconds a step between sending and the arrival of everything, which is when the
            slowest rank has sent its part and the thread that serves the network had a core to run on.
        waited_ms: of these, in which a rank did nothing but wait.
        hidden_ms: of these, in which it did something else. Exchanges that are under way at the same time count each.
    """

    steps: int
    under_way_ms: dict[str, float]
    waited_ms: dict[str, float]
    hidden_ms: dict[str, float]

    def line(self) -> str:
        """In one line, for a terminal.

        >>> Hidden(steps=5, under_way_ms={"ids": 2.0}, waited_ms={"ids": 0.5}, hidden_ms={"ids": 1.5}).line()
        'hidden ms a step, of ms under way: ids 1.5 of 2.0; 1.5 of 2.0 in all (means of 5 steps)'
        """
        kinds = ", ".join(f"{kind} {self.hidden_ms[kind]:.1f} of {own:.1f}" for kind, own in self.under_way_ms.items())
        hidden, under_way = sum(self.hidden_ms.values()), sum(self.under_way_ms.values())
        total = f"{hidden:.1f} of {under_way:.1f} in all"
        return f"hidden ms a step, of ms under way: {kinds or 'nothing'}; {total} (means of {self.steps} steps)"


class Tracing:
    """Traces some steps of a run, those after the first few.

    Args:
        run: its folder.
        ranks: all of them trace the same steps.
        wires: of all that travels; timed while steps are traced.
    """

    def __init__(self, run: Path, ranks: Ranks, wires: Sequence[Wire]) -> None:
        self.path = run / TRACE / f"rank-{ranks.rank}.json"
        self.hidden: Hidden | None = None
        self._ranks, self._wires = ranks, wires
        self._seen = self._traced = 0
        self._told = False
        self._profile: profile | None = None

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around each step of the run."""
        if self._seen == STEPS_BEFORE:
            self._start()
        self._seen += 1
        # from the step before: ids that the first traced step waits for are sent in it
        self._time(self._profile is not None or self._seen == STEPS_BEFORE)
        with record_function(f"step {number}"):
            yield
        self._time(False)  # an evaluation in between is not counted
        if self._profile is not None:
            self._traced += 1
            if self._traced == STEPS_TRACED:
                self.finish()

    def _time(self, timed: bool) -> None:
        for wire in self._wires:
            wire.timed = timed

    def is_fresh(self) -> bool:
        """Whether there are figures that `figures` has not given yet."""
        return self.hidden is not None and not self._told

    def figures(self) -> dict[str, Any]:
        """What was hidden, for the journal."""
        assert self.hidden is not None
        self._told = True
        return self.hidden.model_dump(mode="json")

    def finish(self) -> None:
        """Write the trace of the steps so far; called once more when a run has ended, on every rank."""
        if self._profile is None:
            return
        own, self._profile = self._profile, None
        own.__exit__(None, None, None)
        spans = [span for wire in self._wires for span in wire.take_spans()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        own.export_chrome_trace(str(temporary))
        _add_spans(temporary, spans, self._clock_s)
        temporary.rename(self.path)
        if self._wires:
            self.hidden = _hidden(spans, self._traced, self._ranks)

    def _start(self) -> None:
        for wire in self._wires:
            wire.take_spans()
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(activities=activities)
        self._profile.__enter__()
        self._clock_s = time.perf_counter()
        with record_function(_CLOCK):
            pass


def _hidden(spans: Sequence[Span], steps: int, ranks: Ranks) -> Hidden:
    own: list[float] = []
    for kind in KINDS:
        of_kind = [span for span in spans if span.kind == kind]
        own += [
            sum(span.done - span.sent for span in of_kind),
            sum(span.waited for span in of_kind),
            sum(span.hidden for span in of_kind),
        ]
    means = (ranks.numbers(own).mean(0) * 1e3 / max(steps, 1)).view(-1, 3).tolist()
    found = {kind: numbers for kind, numbers in zip(KINDS, means, strict=True) if numbers[0] > 0}
    under_way, waited, hidden = ({kind: own[place] for kind, own in found.items()} for place in range(3))
    return Hidden(steps=steps, under_way_ms=under_way, waited_ms=waited, hidden_ms=hidden)


def _add_spans(path: Path, spans: Sequence[Span], clock_s: float) -> None:
    """Put a row `wire` into a trace; its clock is found by a range of known time."""
    trace: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    events = trace["traceEvents"]
    marks = [event for event in events if event.get("name") == _CLOCK and event.get("ph") == "X"]
    if not marks:
        return
    zero_us, process = marks[0]["ts"] - clock_s * 1e6, marks[0]["pid"]
    kinds = list(dict.fromkeys(span.kind for span in spans))
    for place, kind in enumerate(kinds):
        row = {"pid": process, "tid": f"wire: {kind}"}
        events.append({"ph": "M", "name": "thread_sort_index", **row, "args": {"sort_index": -100 + place}})
        for span in spans:
            if span.kind == kind:
                times = {"ts": zero_us + span.sent * 1e6, "dur": (span.done - span.sent) * 1e6}
                figures = {"waited ms": span.waited * 1e3, "hidden ms": span.hidden * 1e3}
                events.append({"ph": "X", "cat": "wire", "name": f"{kind} travel", **row, **times, "args": figures})
    path.write_text(json.dumps(trace), encoding="utf-8")
