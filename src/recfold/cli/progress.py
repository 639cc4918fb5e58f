"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class ShownProgress:
    """The callback that every room takes as `progress`: (what, done, total or None, figures by name).

    Use it as a context manager, so that the bar is taken down whatever happens.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> "ShownProgress":
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int | None, **details: float) -> None:
        figures = _figures(details)
        if self._bars is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total, figures=figures)
            self._bars.update(self._tasks[what], completed=done, total=total, figures=figures)
        elif self._is_due(what, done, total):
            shown = f"{done:,}" if total is None else f"{done:,} / {total:,}"
            self._console.print(f"{what}: {shown}{'  ' if figures else ''}{figures}", highlight=False)

    def _is_due(self, what: str, done: int, total: int | None) -> bool:
        now = time.monotonic()
        if done != total and now - self._last_line.setdefault(what, now) < SECONDS_BETWEEN_LINES:
            return False
        self._last_line[what] = now
        return True


def _figures(details: dict[str, float]) -> str:
    shown = []
    if "loss" in details:
        shown.append(f"loss {details['loss']:.4f}")
    if "samples_per_s" in details:
        shown.append(f"{details['samples_per_s']:,.0f} samples/s")
    if "seconds_left" in details:
        shown.append(f"{details['seconds_left']:.0f} s left")
    return "  ".join(shown)
