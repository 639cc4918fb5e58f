"""Who listens to the operations on folded tensors: `explain`, while it runs a model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from recfold.batch.folded.dispatch import Call


class Watcher(Protocol):
    """What is told of each operation."""

    def called(self, call: "Call", answer: Callable[[], Any]) -> Any:
        """One operation: give what `answer` gives."""

    def unfolded(self, reason: str) -> None:
        """The running operation unfolds its arguments."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("recfold_watcher", default=None)


def active() -> bool:
    return _WATCHER.get() is not None


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tell a watcher of every operation inside."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def watched(call: "Call", answer: Callable[[], Any]) -> Any:
    watcher = _WATCHER.get()
    return answer() if watcher is None else watcher.called(call, answer)


def unfolded(reason: str) -> None:
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher.unfolded(reason)
