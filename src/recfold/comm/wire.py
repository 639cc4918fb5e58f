"""Exactly what a rank sent to others, and how long it stood waiting for them."""

from collections import Counter
from collections.abc import Mapping


class Wire:
    """Bytes by kind since they were last taken: `sizes`, `ids`, `lengths`, `weights`, `vectors`, `gradients`, `norms`.

    What stays on the rank is not counted; a byte is counted by its sender only, so that ranks add up.

    Example:
        >>> wire = Wire()
        >>> wire.add("ids", 8)
        >>> wire.add("ids", 16)
        >>> wire.take(), wire.take()
        ({'ids': 24}, {})
    """

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._waits_ms: dict[str, float] = {}

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

    def peek(self) -> Mapping[str, int]:
        """Bytes by kind, which stay counted."""
        return dict(self._bytes)

    def take(self) -> dict[str, int]:
        """Bytes by kind; counting starts again."""
        taken, self._bytes = dict(self._bytes), Counter()
        return taken
