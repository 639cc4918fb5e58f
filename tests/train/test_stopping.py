"""Early stopping counts evaluations since the best."""

import pytest

from recfold.train.settings import EarlyStopping
from recfold.train.stopping import Stopping


def after(values: list[float | None], **options: object) -> Stopping:
    settings = EarlyStopping.parse({"metric": "ne", **options}, "test")
    state = Stopping()
    for step, value in enumerate(values, start=1):
        state = state.after(value, step, settings)
    return state


def test_lower_is_better_for_losses_and_higher_for_areas() -> None:
    assert after([0.9, 0.8]).best_step == 2
    assert after([0.9, 0.8], metric="auc_by_request").best_step == 1


def test_it_stops_when_patience_runs_out_and_not_before() -> None:
    assert not after([0.9, 0.95], patience=2).stopped
    assert after([0.9, 0.95, 0.92], patience=2).stopped
    assert not after([0.9, 0.95, 0.89, 0.9], patience=2).stopped


@pytest.mark.parametrize(("delta", "best_step"), [(0.0, 2), (0.05, 1)])
def test_an_improvement_has_to_exceed_min_delta(delta: float, best_step: int) -> None:
    assert after([0.9, 0.88], min_delta=delta).best_step == best_step


def test_an_undefined_metric_is_never_better() -> None:
    state = after([None, None], patience=2)
    assert state.best_step is None
    assert state.stopped
