"""The planted truth: what a click depends on, its probability, and the best AUC that any model can reach.

    log-odds = bias + scale * sum over parts of sqrt(share) * standardised(part)

Parts: `dense` a linear function of the dense features · `dense_product` the first two multiplied · `item` and `user`
mean effects of frequent ids · `user_item` a user factor times an item factor · `history` mean effects of a window's
ids and actions · `content` a linear function of the item's content vector · `field` mean effects of frequent ids of all
fields · `field_pair` the factors of fields 0 and 1, 2 and 3, 4 and 5, 6 and 7 multiplied. Only frequent ids have an
effect, so that a log of a few 100,000 samples is enough to learn it. Scale and bias are set for a Bayes AUC of 0.80 at
a click rate of 0.25.
"""

from dataclasses import dataclass

import numpy as np

from recfold.logs.synth.draws import stream, uniform
from recfold.logs.synth.lists import Source
from recfold.logs.synth.sessions import Samples
from recfold.logs.synth.workloads import (
    ACTIONS,
    CONTENT_WIDTH,
    NUM_DENSE,
    NUM_ITEM_FEATURES,
    VOCABULARY,
    Workload,
)

TARGET_AUC = 0.80
CLICK_RATE = 0.25

_HEAD_ITEMS, _HEAD_USERS = 16, 8
_USER_FEATURES = (0, 5, 10, 15)
_HEAD_FIELDS, _FIELD_PAIRS = 8, 4
_FIXED_POINT = 1024
_CALIBRATION = 32_768
_EFFECTS, _CLICKS = 100, 101


@dataclass(frozen=True)
class Truth:
    """The probability of a click, given what the log shows.

    Args:
        shares: of the variance of the log-odds, by part.
        weights: of the dense features, float64 [13], and then of the content vector, if there is one; none of fields.
        effects: fixed-point effect of each rank, by what it acts on.
        centre, spread: mean and standard deviation of each part.
        scale, bias: of the log-odds.
    """

    shares: dict[str, float]
    weights: np.ndarray
    effects: dict[str, np.ndarray]
    centre: dict[str, float]
    spread: dict[str, float]
    scale: float
    bias: float

    def probability(self, source: Source, samples: Samples) -> np.ndarray:
        """P(click) of each sample: float64 [B]."""
        score = _score(_parts(self.weights, self.effects, source, samples), self.shares, self.centre, self.spread)
        return _sigmoid(self.bias + self.scale * score)


def clicks(seed: int, samples: Samples, probability: np.ndarray) -> np.ndarray:
    """Bernoulli draws (bool), one a sample."""
    return uniform(stream(seed, _CLICKS), samples.number) < probability


def plant(source: Source) -> Truth:
    """The truth of one log, calibrated on independent samples that are not part of it."""
    random = np.random.default_rng([source.seed, _EFFECTS])
    weights, effects = (_of_fields if source.workload.fields else _of_users_and_items)(random, source.workload)
    alone = -1 - np.arange(_CALIBRATION, dtype=np.int64)
    apart = Samples(
        number=alone,
        session=alone,
        time=alone,
        drawn=np.repeat(alone[:, None], len(source.workload.change), axis=1),
        shift=np.zeros((_CALIBRATION, len(source.workload.shift)), dtype=np.int64),
    )
    parts = _parts(weights, effects, source, apart)
    centre = {name: float(part.mean()) for name, part in parts.items()}
    spread = {name: float(part.std()) or 1.0 for name, part in parts.items()}
    shares = source.workload.shares
    scale, bias = _calibrate(_score(parts, shares, centre, spread))
    return Truth(shares, weights, effects, centre, spread, scale, bias)


class BayesAuc:
    """The AUC of the true probabilities, expected over the Bernoulli draws; counts are integers in narrow bins.

    P(a positive is ranked above a negative), ties one half: the sum over pairs of p_i (1 - p_j), i above j, over the
    sum of p times the sum of 1 - p.

    >>> auc = BayesAuc()
    >>> auc.add(np.array([0.0, 1.0]))
    >>> auc.value()
    1.0
    """

    _BINS = 1 << 16

    def __init__(self) -> None:
        self._positive = np.zeros(self._BINS, dtype=np.int64)
        self._count = np.zeros(self._BINS, dtype=np.int64)

    def add(self, probability: np.ndarray) -> None:
        bins = np.minimum((probability * self._BINS).astype(np.int64), self._BINS - 1)
        np.add.at(self._positive, bins, np.round(probability * 2.0**30).astype(np.int64))
        np.add.at(self._count, bins, 1)

    def value(self) -> float:
        """NaN where nothing was added or all are certain to be of one class."""
        positive = self._positive * 2.0**-30
        negative = self._count - positive
        below = np.cumsum(negative) - negative
        pairs = float(positive.sum() * negative.sum())
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def bayes_auc_reference(probability: np.ndarray) -> float:
    """The slow twin of `BayesAuc`: every pair."""
    p = probability
    above = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    return float((p[:, None] * (1 - p)[None, :] * above).sum() / (p.sum() * (1 - p).sum()))


def _of_users_and_items(random: np.random.Generator, workload: Workload) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Weights and effects of `Truth`."""
    weights = random.standard_normal(NUM_DENSE)
    effects = {f"item_{f}": _effect(random, _HEAD_ITEMS, VOCABULARY) for f in range(NUM_ITEM_FEATURES)}
    effects |= {f"user_{f}": _effect(random, _HEAD_USERS, VOCABULARY) for f in _USER_FEATURES}
    effects |= {f"factor_{side}": _effect(random, 8, VOCABULARY) for side in ("user", "item")}
    for window in range(len(workload.shift)):
        effects[f"history_{window}_item"] = _effect(random, _HEAD_USERS, VOCABULARY)
        effects[f"history_{window}_action"] = _effect(random, ACTIONS, ACTIONS)
    if workload.items:
        weights = np.concatenate([weights, random.standard_normal(CONTENT_WIDTH)])
    return weights, effects


def _of_fields(random: np.random.Generator, workload: Workload) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Weights and effects of `Truth`."""
    effects = {f"field_{f}": _effect(random, _HEAD_FIELDS, workload.vocabulary) for f in range(workload.fields)}
    effects |= {f"factor_{f}": _effect(random, _HEAD_FIELDS, workload.vocabulary) for f in range(2 * _FIELD_PAIRS)}
    return np.zeros(0), effects


def _field_parts(effects: dict[str, np.ndarray], source: Source, samples: Samples) -> dict[str, np.ndarray]:
    """Field after field, since the ids of all of them would fill memory."""
    field, factors = np.zeros(len(samples)), []
    for feature in range(source.workload.fields):
        drawn = source.field(feature, samples)
        field += drawn.means(effects[f"field_{feature}"])[drawn.inverse]
        if feature < 2 * _FIELD_PAIRS:
            factors.append(drawn.means(effects[f"factor_{feature}"])[drawn.inverse])
    pairs = zip(factors[::2], factors[1::2], strict=True)
    return {"field": field, "field_pair": np.asarray(sum(one * other for one, other in pairs))}


def _parts(
    weights: np.ndarray, effects: dict[str, np.ndarray], source: Source, samples: Samples
) -> dict[str, np.ndarray]:
    if source.workload.fields:
        return _field_parts(effects, source, samples)
    dense = source.dense(samples).astype(np.float64)
    items = [source.item(feature, samples) for feature in range(NUM_ITEM_FEATURES)]
    users = {feature: source.user(feature, samples) for feature in _USER_FEATURES}
    parts = {
        # term by term: the sum of a row must not depend on how many rows there are
        "dense": sum(dense[:, number] * weight for number, weight in enumerate(weights[:NUM_DENSE])),
        "dense_product": dense[:, 0] * dense[:, 1],
        "item": sum(drawn.means(effects[f"item_{f}"])[drawn.inverse] for f, drawn in enumerate(items)),
        "user": sum(drawn.means(effects[f"user_{f}"])[drawn.inverse] for f, drawn in users.items()),
    }
    user_factor = users[0].means(effects["factor_user"])[users[0].inverse]
    item_factor = items[0].means(effects["factor_item"])[items[0].inverse]
    parts["user_item"] = user_factor * item_factor
    if source.items is not None:
        content = source.content(samples)
        columns = content.values.astype(np.float64).T
        linear = sum(column * weight for column, weight in zip(columns, weights[NUM_DENSE:], strict=True))
        parts["content"] = np.asarray(linear)[content.inverse]
    windows = range(len(source.workload.shift))
    if windows:
        history = np.zeros(len(samples))
        for window in windows:
            for part, name in enumerate(("item", "action")):
                drawn = source.window(window, part, samples)
                history += drawn.means(effects[f"history_{window}_{name}"])[drawn.inverse]
        parts["history"] = history
    return {name: np.asarray(part) for name, part in parts.items()}


def _score(
    parts: dict[str, np.ndarray], shares: dict[str, float], centre: dict[str, float], spread: dict[str, float]
) -> np.ndarray:
    total = np.zeros(len(next(iter(parts.values()))))
    for name, share in shares.items():
        total += np.sqrt(share) * (parts[name] - centre[name]) / spread[name]
    return total


def _calibrate(score: np.ndarray) -> tuple[float, float]:
    """Scale and bias that give the target AUC and the click rate on these scores."""
    low, high = 0.0, 8.0
    for _ in range(14):
        scale = (low + high) / 2
        auc = BayesAuc()
        auc.add(_sigmoid(_bias(scale * score) + scale * score))
        low, high = (scale, high) if auc.value() < TARGET_AUC else (low, scale)
    return scale, _bias(scale * score)


def _bias(log_odds: np.ndarray) -> float:
    low, high = -30.0, 30.0
    for _ in range(24):
        bias = (low + high) / 2
        low, high = (bias, high) if _sigmoid(bias + log_odds).mean() < CLICK_RATE else (low, bias)
    return bias


def _effect(random: np.random.Generator, head: int, vocabulary: int) -> np.ndarray:
    effect = np.zeros(vocabulary, dtype=np.int64)
    effect[:head] = np.round(random.standard_normal(head) * _FIXED_POINT)
    return effect


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))
