"""Metrics agree with their slow twins, honour weights, and are None where they are not defined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.spec import InputError
from recfold.train.metrics import (
    auc,
    grouped_auc,
    grouped_auc_reference,
    label_metrics,
    label_metrics_reference,
    sigmoid,
)

SAMPLE = st.tuples(
    st.sampled_from([-2.5, -1.0, 0.0, 0.5, 3.0]),  # few scores: many ties
    st.sampled_from([0.0, 1.0, 0.25]),
    st.integers(-2, 2),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)


def columns(rows: list[tuple[float, float, int, float]]) -> tuple[np.ndarray, ...]:
    scores, labels, groups, weights = zip(*rows, strict=True) if rows else ((), (), (), ())
    return np.array(scores), np.array(labels), np.array(groups, dtype=np.int64), np.array(weights)


def close(a: float | None, b: float | None) -> bool:
    return a is b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12))


@given(st.lists(SAMPLE, max_size=25), st.booleans())
def test_grouped_auc_equals_its_twin(rows: list[tuple[float, float, int, float]], weighted: bool) -> None:
    scores, labels, groups, weights = columns(rows)
    fast = grouped_auc(scores, labels, groups, weights if weighted else None)
    slow = grouped_auc_reference(scores, labels, groups, weights if weighted else None)
    assert fast[1] == slow[1]
    assert close(fast[0], slow[0])


@given(st.lists(SAMPLE, max_size=25))
def test_sums_over_samples_equal_their_twin(rows: list[tuple[float, float, int, float]]) -> None:
    scores, labels, _, weights = columns(rows)
    fast = label_metrics(scores, labels, weights_N=weights).model_dump()
    slow = label_metrics_reference(scores.tolist(), labels.tolist(), weights.tolist())
    assert all(close(fast[name], slow[name]) for name in slow)


@settings(deadline=None)  # the first call imports torchmetrics
@given(st.lists(SAMPLE, min_size=1, max_size=40))
def test_auc_of_torchmetrics_equals_ours_where_both_can(rows: list[tuple[float, float, int, float]]) -> None:
    scores, labels, groups, _ = columns(rows)
    hard = (labels > 0.5).astype(np.float64)
    ours = grouped_auc(scores, hard, np.zeros_like(groups))[0]
    theirs = auc(scores, hard)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert abs(ours - theirs) < 1e-6


def test_auc_by_hand() -> None:
    scores, labels = np.array([3.0, 2.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert auc(scores, labels) == pytest.approx(3.5 / 4)
    # the tied negative counts three times
    assert auc(scores, labels, np.array([1.0, 1.0, 3.0, 1.0])) == pytest.approx((4 + 1 + 1.5) / 8)


def test_groups_count_by_their_samples_and_need_both_classes() -> None:
    scores = np.array([1.0, 0.0, 0.0, 1.0, 0.5, 9.0])
    labels = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    groups = np.array([5, 5, 6, 6, 6, 7])
    assert grouped_auc(scores, labels, groups) == (pytest.approx(2 / 5 * 1.0 + 3 / 5 * 0.0), 2)


def test_a_sample_of_weight_two_is_two_samples() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=50), (rng.random(50) < 0.4).astype(float)
    groups, weights = rng.integers(0, 5, 50), rng.integers(0, 3, 50)
    once = label_metrics(scores, labels, weights_N=weights.astype(float), requests_N=groups)
    often = label_metrics(np.repeat(scores, weights), np.repeat(labels, weights), requests_N=np.repeat(groups, weights))
    for name in ("base_rate", "logloss", "ne", "auc", "auc_by_request", "requests", "calibration"):
        assert getattr(once, name) == pytest.approx(getattr(often, name), rel=1e-6), name
    assert once.auc != label_metrics(scores, labels).auc


def test_ne_of_the_base_rate_is_one_and_calibrated() -> None:
    labels = np.array([1.0, 0.0, 0.0, 0.0])
    found = label_metrics(np.full(4, math.log(1 / 3)), labels)
    assert found.ne == pytest.approx(1.0)
    assert found.calibration == pytest.approx(1.0)
    assert found.auc == 0.5


def test_what_is_not_defined_is_none() -> None:
    found = label_metrics(np.array([0.0, 1.0]), np.zeros(2), requests_N=np.zeros(2, np.int64))
    assert (found.ne, found.auc, found.auc_by_request, found.calibration) == (None, None, None, None)
    assert found.logloss is not None
    empty = label_metrics(np.empty(0), np.empty(0))
    assert (empty.samples, empty.logloss, empty.base_rate) == (0, None, None)


def test_extreme_logits_stay_finite() -> None:
    found = label_metrics(np.array([1000.0, -1000.0]), np.array([0.0, 1.0]))
    assert found.logloss == 1000.0
    assert sigmoid(np.array([-1e9, 1e9])).tolist() == [0.0, 1.0]


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(InputError, match="1 of 2 scores are not finite"):
        label_metrics(np.array([0.0, np.nan]), np.array([0.0, 1.0]))
