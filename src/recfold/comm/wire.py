"""Exactly what a rank sent to others, and how long it stood waiting for them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A collective that is over; seconds of `time.perf_counter`.

    Args:
        kind: of what travelled.
        sent, done: between them it was under way.
        waited: of that, seconds that this rank did nothing but wait for it.
    """

    kind: str
    sent: float
    done: float
    waited: float

    @property
    def hidden(self) -> float:
        """Seconds under way in which this rank did something else."""
        return max(self.done - self.sent - self.waited, 0.0)


class Wire:
    """Bytes by kind since they were last taken: `sizes`, `ids`, `lengths`, `weights`, `vectors`, `gradients`, `norms`.

    What stays on the rank is not counted; a byte is counted by its sender only, so that ranks add up.

    Args:
        timed: whether spans of exchanges are kept too.

    Attributes:
        timed: may be changed at any time.

    Example:
        >>> wire = Wire()
        >>> wire.add("ids", 8)
        >>> wire.add("ids", 16)
        >>> wire.take(), wire.take()
        ({'ids': 24}, {})
    """

    def __init__(self, *, timed: bool = False) -> None:
        self.timed = timed
        self._bytes: Counter[str] = Counter()
        self._waits_ms: dict[str, float] = {}
        self._spans: list[Span] = []

    def add(self, kind: str, num_bytes: int) -> None:
        if num_bytes:
            self._bytes[kind] += num_bytes

    def add_wait(self, kind: str, wait_ms: float) -> None:
        """Count time in which an exchange was waited for: what overlap did not hide."""
        self._waits_ms[kind] = self._waits_ms.get(kind, 0.0) + wait_ms

    def take_waits(self) -> dict[str, float]:
        """Milliseconds waited by kind (ids with their lengths and weights are one exchange); counting starts again."""
        taken, self._waits_ms = self._waits_ms, {}
        return taken

    def add_span(self, span: Span) -> None:
        """Keep when an exchange was under way."""
        self._spans.append(span)

    def take_spans(self) -> list[Span]:
        """Exchanges that are over, in the order in which they were waited for; keeping starts again."""
        taken, self._spans = self._spans, []
        return taken

    def peek(self) -> Mapping[str, int]:
        """Bytes by kind, which stay counted."""
        return dict(self._bytes)

    def take(self) -> dict[str, int]:
        """Bytes by kind; counting starts again."""
        taken, self._bytes = dict(self._bytes), Counter()
        return taken
