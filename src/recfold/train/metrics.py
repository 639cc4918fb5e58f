"""How good scores are: normalised entropy, AUC over all samples and inside groups, calibration. Float64 throughout.

A metric that is not defined (one class only, no labels) is None, never a made-up number.

Legend: N samples; G groups (requests or sessions).
"""

import math
import warnings

import numpy as np
import torch

from recfold.spec import InputError, Settings


class LabelMetrics(Settings):
    """Metrics of one label on one set of samples.

    Args:
        samples: how many; base_rate: their weighted mean label.
        logloss: mean -log likelihood, natural logarithm.
        ne: normalised entropy: logloss over that of always predicting the base rate; below 1 is better than nothing.
        auc: chance that a random positive is scored above a random negative, ties count one half.
        auc_by_request, auc_by_session: the same inside each request or session that has both classes, averaged with the
            number (or weight) of the group's samples; `requests` and `sessions` count these groups.
        calibration: sum of predictions over sum of labels; 1 is right.
    """

    samples: int
    base_rate: float | None
    logloss: float | None
    ne: float | None
    auc: float | None
    auc_by_request: float | None
    requests: int
    auc_by_session: float | None
    sessions: int
    calibration: float | None


def label_metrics(
    logits_N: np.ndarray,
    labels_N: np.ndarray,
    *,
    weights_N: np.ndarray | None = None,
    requests_N: np.ndarray | None = None,
    sessions_N: np.ndarray | None = None,
) -> LabelMetrics:
    """All metrics of one label.

    Args:
        logits_N: scores before the sigmoid, finite.
        labels_N: 0 or 1, or values between.
        weights_N: sample weights, >= 0; None for 1 each.
        requests_N, sessions_N: int64 ids of the groups; None where the log has no such key.
    Raises:
        InputError: a score is not finite.

    Example:
        >>> found = label_metrics(np.array([2.0, -1.0, 0.0]), np.array([1.0, 0.0, 1.0]))
        >>> found.auc, found.samples
        (1.0, 3)
    """
    z, y = logits_N.astype(np.float64), labels_N.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(z)))
    if bad:
        raise InputError(f"{bad} of {len(z)} scores are not finite", todo="look for NaN in the features or the weights")
    w = np.ones(len(z)) if weights_N is None else weights_N.astype(np.float64)
    by_request = grouped_auc(z, y, requests_N, weights_N) if requests_N is not None else (None, 0)
    by_session = grouped_auc(z, y, sessions_N, weights_N) if sessions_N is not None else (None, 0)
    total, positive = float(w.sum()), float(w @ y)
    base_rate = positive / total if total > 0 else None
    loss = float(w @ (np.logaddexp(0.0, z) - y * z)) / total if total > 0 else None
    entropy = _entropy(base_rate) if base_rate is not None else 0.0
    return LabelMetrics(
        samples=len(z),
        base_rate=base_rate,
        logloss=loss,
        ne=loss / entropy if loss is not None and entropy > 0 else None,
        auc=auc(z, y, weights_N),
        auc_by_request=by_request[0],
        requests=by_request[1],
        auc_by_session=by_session[0],
        sessions=by_session[1],
        calibration=float(w @ sigmoid(z)) / positive if positive > 0 else None,
    )


def auc(scores_N: np.ndarray, labels_N: np.ndarray, weights_N: np.ndarray | None = None) -> float | None:
    """Area under the ROC curve; exact, ties count one half.

    A label y between 0 and 1 counts as y of a positive and 1 - y of a negative. torchmetrics computes it where it can:
    no weights, labels 0 and 1.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
        0.75
    """
    positives = float(labels_N.sum())
    hard = weights_N is None and bool(((labels_N == 0) | (labels_N == 1)).all())
    if hard and 0 < positives < len(labels_N):
        # ranks stand for scores: torchmetrics would squash and round what lies outside [0, 1]
        _, ranks = np.unique(scores_N, return_inverse=True)
        preds = torch.from_numpy(ranks / max(int(ranks.max()), 1))
        with warnings.catch_warnings():
            # imported late, since it takes seconds; older releases use what distutils deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            from torchmetrics.functional.classification import binary_auroc
        return float(binary_auroc(preds, torch.from_numpy(labels_N.astype(np.int64)), thresholds=None))
    return grouped_auc(scores_N, labels_N, np.zeros(len(scores_N), np.int64), weights_N)[0]


def grouped_auc(
    scores_N: np.ndarray, labels_N: np.ndarray, groups_N: np.ndarray, weights_N: np.ndarray | None = None
) -> tuple[float | None, int]:
    """Mean AUC inside groups, over the groups that have both classes, weighted by their samples (or sample weights).

    Returns:
        The mean (None where no group has both classes), and the number of such groups.

    Example:
        >>> grouped_auc(np.array([0.2, 0.1, 0.9, 0.5]), np.array([1, 0, 0, 0]), np.array([7, 7, 8, 8]))
        (1.0, 1)
    """
    if len(scores_N) == 0:
        return None, 0
    order = np.lexsort((scores_N, groups_N))
    s, g, y = scores_N[order], groups_N[order], labels_N[order].astype(np.float64)
    w = np.ones(len(s)) if weights_N is None else weights_N[order].astype(np.float64)
    new_group = np.r_[True, g[1:] != g[:-1]]
    first_of_run = np.flatnonzero(new_group | np.r_[True, s[1:] != s[:-1]])  # runs of equal scores in a group
    positive_R = np.add.reduceat(w * y, first_of_run)
    negative_R = np.add.reduceat(w * (1 - y), first_of_run)
    first_run_G = np.flatnonzero(new_group[first_of_run])
    runs_G = np.diff(np.r_[first_run_G, len(first_of_run)])
    below_R = np.cumsum(negative_R) - negative_R
    below_R -= np.repeat(below_R[first_run_G], runs_G)
    won_G = np.add.reduceat(positive_R * (below_R + 0.5 * negative_R), first_run_G)
    positive_G = np.add.reduceat(positive_R, first_run_G)
    negative_G = np.add.reduceat(negative_R, first_run_G)
    both = (positive_G > 0) & (negative_G > 0)
    if not both.any():
        return None, 0
    share_G = (positive_G + negative_G)[both]
    area_G = won_G[both] / (positive_G[both] * negative_G[both])
    return float(share_G @ area_G / share_G.sum()), int(both.sum())


def grouped_auc_reference(
    scores_N: np.ndarray, labels_N: np.ndarray, groups_N: np.ndarray, weights_N: np.ndarray | None = None
) -> tuple[float | None, int]:
    """The slow twin of `grouped_auc`: every pair of samples of every group."""
    weights = np.ones(len(scores_N)) if weights_N is None else weights_N
    areas, shares = [], []
    for group in sorted(set(groups_N.tolist())):
        members = [i for i in range(len(scores_N)) if groups_N[i] == group]
        won = pairs = 0.0
        for i in members:
            for j in members:
                pair = weights[i] * labels_N[i] * weights[j] * (1 - labels_N[j])
                pairs += pair
                won += pair * (1.0 if scores_N[i] > scores_N[j] else 0.5 if scores_N[i] == scores_N[j] else 0.0)
        if pairs > 0:
            areas.append(won / pairs)
            shares.append(sum(weights[i] for i in members))
    if not areas:
        return None, 0
    return sum(a * s for a, s in zip(areas, shares, strict=True)) / sum(shares), len(areas)


def label_metrics_reference(logits: list[float], labels: list[float], weights: list[float]) -> dict[str, float | None]:
    """The slow twin of `label_metrics` for what is a sum over samples: sample by sample, as in a textbook."""
    predictions = [1 / (1 + math.exp(-z)) for z in logits]
    rows = list(zip(predictions, labels, weights, strict=True))
    total = sum(weights)
    if total == 0:
        return {"base_rate": None, "logloss": None, "ne": None, "calibration": None}
    base_rate = sum(w * y for _, y, w in rows) / total

    def mean_loss(rows: list[tuple[float, float, float]]) -> float:
        return -sum(w * (y * math.log(p) + (1 - y) * math.log(1 - p)) for p, y, w in rows) / total

    constant = mean_loss([(base_rate, y, w) for _, y, w in rows]) if 0 < base_rate < 1 else None
    return {
        "base_rate": base_rate,
        "logloss": mean_loss(rows),
        "ne": mean_loss(rows) / constant if constant else None,
        "calibration": sum(w * p for p, _, w in rows) / (base_rate * total) if base_rate > 0 else None,
    }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.exp(-np.logaddexp(0.0, -logits))


def _entropy(rate: float) -> float:
    return 0.0 if rate <= 0 or rate >= 1 else -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
