"""Early stopping: which evaluation was best, and how long ago."""

from dataclasses import dataclass, replace

from recfold.train.settings import EarlyStopping

LOWER_IS_BETTER = frozenset({"ne", "logloss"})


@dataclass(frozen=True)
class Stopping:
    """What early stopping remembers; a value, kept in checkpoints.

    Args:
        best: the best metric so far, None before the first.
        best_step: the step after which it was measured.
        waited: evaluations since then.
        stopped: the patience has run out.
    """

    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    stopped: bool = False

    def after(self, value: float | None, step: int, settings: EarlyStopping) -> "Stopping":
        """What is remembered after one more evaluation; an undefined metric (None) is never better.

        Example:
            >>> settings = EarlyStopping(metric="auc", patience=1, min_delta=0.01)
            >>> first = Stopping().after(0.70, 10, settings)
            >>> first.after(0.705, 20, settings)
            Stopping(best=0.7, best_step=10, waited=1, stopped=True)
        """
        if value is not None and (self.best is None or self._gain(value, settings) > settings.min_delta):
            return Stopping(value, step)
        waited = self.waited + 1
        return replace(self, waited=waited, stopped=waited >= settings.patience)

    def _gain(self, value: float, settings: EarlyStopping) -> float:
        assert self.best is not None
        return self.best - value if settings.metric in LOWER_IS_BETTER else value - self.best
