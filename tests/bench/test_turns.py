"""Sides are timed in turns, each as often as the other."""

import pyarrow as pa
import torch

from recfold.bench.turns import one_thread, seconds_in_turns


def test_every_turn_begins_with_another_side() -> None:
    ran: list[str] = []
    told: list[tuple[object, ...]] = []
    seconds = seconds_in_turns(
        {"a": lambda: ran.append("a"), "b": lambda: ran.append("b"), "c": lambda: ran.append("c")},
        3,
        "bench",
        lambda *what: told.append(what),
    )
    assert "".join(ran) == "abcbcacab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert told[-1] == ("bench: turns", 3, 3)


def test_one_thread_is_for_the_inside_only() -> None:
    before = torch.get_num_threads(), pa.cpu_count()
    with one_thread():
        assert (torch.get_num_threads(), pa.cpu_count()) == (1, 1)
    assert (torch.get_num_threads(), pa.cpu_count()) == before
