"""What training tells whoever draws a bar: the callback of all rooms, with figures as keywords."""

from typing import Protocol


class TrainProgress(Protocol):
    """Called often; the receiver decides how often to draw.

    Args:
        what: what is being done, the name of the bar ("train", "score validation").
        done, total: in the bar's unit (steps of the run, samples scored); total None where it is not known.
        details: in training `loss` (weighted mean of late steps), `samples_per_s`, `seconds_left`, `epoch`.
    """

    def __call__(self, what: str, done: int, total: int | None, **details: float) -> None: ...


def silent(what: str, done: int, total: int | None, **details: float) -> None:
    """Tells nobody."""
