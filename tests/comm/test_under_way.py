import time

import pytest
import torch

from recfold.comm import Span, UnderWay, Wire


class SlowWork:
    """Done some time after it was sent, or when it is waited for."""

    def __init__(self) -> None:
        self.future: torch.futures.Future[None] = torch.futures.Future()

    def get_future(self) -> "torch.futures.Future[None]":
        return self.future

    def wait(self) -> None:
        if not self.future.done():
            time.sleep(0.02)
            self.future.set_result(None)


def test_what_is_done_before_it_is_waited_for_was_hidden() -> None:
    wire, work = Wire(timed=True), SlowWork()
    under_way = UnderWay(work, "ids", wire)
    time.sleep(0.02)
    work.future.set_result(None)
    under_way.wait()
    under_way.wait()
    (span,) = wire.take_spans()
    assert span.kind == "ids"
    assert span.waited == 0
    assert span.hidden == pytest.approx(span.done - span.sent)
    assert wire.take_waits().keys() == {"ids"}


def test_what_is_waited_for_at_once_was_not() -> None:
    wire = Wire(timed=True)
    UnderWay(SlowWork(), "ids", wire).wait()
    (span,) = wire.take_spans()
    assert span.waited > span.hidden


def test_only_a_timed_wire_keeps_spans() -> None:
    wire = Wire()
    UnderWay(SlowWork(), "ids", wire).wait()
    assert wire.take_spans() == []
    assert wire.take_waits()["ids"] > 0


def test_what_was_sent_before_the_wire_was_timed_has_no_span() -> None:
    wire = Wire()
    under_way = UnderWay(SlowWork(), "ids", wire)
    wire.timed = True
    under_way.wait()
    assert wire.take_spans() == []


def test_hidden_time_is_never_negative() -> None:
    assert Span("ids", sent=1.0, done=1.5, waited=0.6).hidden == 0
