"""Work on all of torch's own threads."""

from collections.abc import Iterator
from threading import Barrier, get_native_id

import pytest
import torch

from recfold.embed import thread_team
from recfold.embed.thread_team import on_every_thread

needs_openmp = pytest.mark.skipif(thread_team._parallel() is None, reason="torch's OpenMP cannot be reached here")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@needs_openmp
def test_every_thread_works_at_the_same_time() -> None:
    meeting, seen = Barrier(3), set()

    def work() -> None:
        meeting.wait(timeout=60)
        seen.add(get_native_id())

    on_every_thread(work)
    assert len(seen) == 3
    assert get_native_id() in seen


@needs_openmp
def test_operations_inside_are_the_same_as_outside() -> None:
    numbers = torch.randn(1 << 18, requires_grad=True)
    meeting, found = Barrier(3), []

    def work() -> None:
        meeting.wait(timeout=60)
        (grad,) = torch.autograd.grad(numbers.square().sum(), numbers)
        found.append(grad)

    on_every_thread(work)
    assert len(found) == 3
    assert all(torch.equal(grad, 2 * numbers) for grad in found)


@needs_openmp
def test_an_error_of_any_thread_is_raised_when_all_have_ended() -> None:
    meeting, ended, own = Barrier(3), [], get_native_id()

    def work() -> None:
        meeting.wait(timeout=60)
        if get_native_id() != own:
            raise RuntimeError("no memory")
        ended.append(own)

    with pytest.raises(RuntimeError, match="no memory"):
        on_every_thread(work)
    assert ended == [own]


@pytest.mark.parametrize("reason", ["one thread", "no OpenMP"])
def test_this_thread_does_it_alone_where_there_is_no_other(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "one thread":
        torch.set_num_threads(1)
    else:
        monkeypatch.setattr(thread_team, "_parallel", lambda: None)
    seen = []
    on_every_thread(lambda: seen.append(get_native_id()))
    assert seen == [get_native_id()]
