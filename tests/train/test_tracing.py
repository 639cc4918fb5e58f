"""What a trace counts of exchanges that begin in one step and end in the next."""

import json
from pathlib import Path

import torch

from recfold.comm import UnderWay, Wire
from recfold.train.ranks import Ranks
from recfold.train.tracing import STEPS_TRACED, Tracing


class Work:
    """A collective that is done when it is sent."""

    def __init__(self) -> None:
        self.future: torch.futures.Future[None] = torch.futures.Future()
        self.future.set_result(None)

    def get_future(self) -> "torch.futures.Future[None]":
        return self.future

    def wait(self) -> None:
        pass


def test_each_traced_step_has_the_ids_that_the_step_before_has_sent(tmp_path: Path) -> None:
    wire = Wire()
    tracing = Tracing(tmp_path, Ranks(), [wire])
    ahead = UnderWay(Work(), "ids", wire)
    for number in range(1, 12):
        with tracing.step(number):
            ahead.wait()
            ahead = UnderWay(Work(), "ids", wire)
    events = json.loads(tracing.path.read_text())["traceEvents"]
    assert sum(event.get("name") == "ids travel" for event in events) == STEPS_TRACED
    assert tracing.hidden is not None
    assert tracing.hidden.waited_ms["ids"] == 0
    assert wire.take_spans() == []
