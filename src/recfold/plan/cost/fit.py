"""Trains the cost network on measured sets, and says how far it errs on tables it has not seen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recfold.plan.cost.ablation import LEFT_OUT, without
from recfold.plan.cost.analytic import AnalyticCost, fit_analytic, terms_of
from recfold.plan.cost.fit_exchange import fit_exchange
from recfold.plan.cost.inputs import inputs_of
from recfold.plan.cost.measured import PROBE_POWER
from recfold.plan.cost.measured_sets import MeasuredSet, read_sets, repeat_noise
from recfold.plan.cost.network import CostNetwork, Curve, Sets, Training, train_network
from recfold.plan.cost.neural import NeuralCost, scale_ms
from recfold.plan.cost.samples import EXCHANGES, read_lines

LARGE_MS = 20.0
"""Sets from here on are what the target is about."""

VALIDATION_EVERY = 10

Tell = Callable[[str, int, int | None], None]
"""What is trained, epoch, epochs at most."""


@dataclass(frozen=True)
class Errors:
    """Mean absolute percentage errors, as shares, and how many sets they are of.

    Args:
        all_sets, large: of all sets, and of those of `LARGE_MS` and more.
        by_ms: (from ms, to ms, sets, error) of tenths of the sets by cost.
    """

    all_sets: float
    large: float
    num_sets: int
    num_large: int
    by_ms: tuple[tuple[float, float, int, float], ...]


@dataclass(frozen=True)
class Fitted:
    """A trained cost and what is known of it.

    Args:
        errors: on unseen tables.
        analytic_errors: of the formula with constants fitted to the same sets, on the same.
        noise: repeat noise of all sets, and of those of `LARGE_MS` and more; None where no set has two turns.
        above: share of pairs of sets that cost more together than alone, one after the other; and by how much the
            worst of a thousand pairs does.
        ablation: group of inputs -> errors without it.
        exchange_errors: of each head on held-out exchanges; empty where none was measured.
    """

    cost: NeuralCost
    errors: Errors
    analytic_errors: Errors
    noise: tuple[float, float] | None
    above: tuple[float, float]
    curve: Curve
    ablation: dict[str, Errors]
    exchange_errors: dict[str, float]


def errors_of(predicted_ms: np.ndarray, sets: Sequence[MeasuredSet]) -> Errors:
    """Mean absolute percentage errors of predictions."""
    ms = np.array([own.ms for own in sets])
    error = np.abs(predicted_ms - ms) / ms
    large = ms >= LARGE_MS
    order = np.argsort(ms)
    parts = [part for part in np.array_split(order, min(10, len(order))) if len(part)]
    return Errors(
        all_sets=float(error.mean()),
        large=float(error[large].mean()) if large.any() else math.nan,
        num_sets=len(ms),
        num_large=int(large.sum()),
        by_ms=tuple((float(ms[p].min()), float(ms[p].max()), len(p), float(error[p].mean())) for p in parts),
    )


def predict(cost: NeuralCost, sets: Sequence[MeasuredSet]) -> np.ndarray:
    """Milliseconds of each set."""
    return cost.ms(np.stack([cost.rows_of(own.columns).sum(0) for own in sets]))


def fit(
    folder: Path,
    how: Training = Training(),  # noqa: B008 (frozen)
    *,
    ablation: bool = False,
    tell: Tell = lambda what, epoch, epochs: None,
) -> Fitted:
    """Train on the sets of a collection.

    Args:
        ablation: train again without each group of inputs.
        tell: is called with each epoch.
    Raises:
        InputError: no collection, or too few sets.
    """
    sets, hardware = read_sets(folder)
    seen, unseen = [own for own in sets if not own.unseen], [own for own in sets if own.unseen]
    cache_bytes = float(hardware.get("last_level_cache_bytes") or 0) or AnalyticCost().cache_bytes
    analytic = _fit_analytic(seen, cache_bytes)
    network, curve = _train(seen, analytic, how, tell, "train cost network")
    exchanges = list(read_lines(folder / EXCHANGES))
    heads, exchange_errors = fit_exchange(exchanges, how.seed) if exchanges else ({}, {})
    cost = NeuralCost(arrays_of(network), analytic, {}, heads)
    noise = None
    if any(len(own.turns_ms) > 1 for own in sets):
        noise = (repeat_noise(sets), repeat_noise(sets, LARGE_MS))
    worth: dict[str, Errors] = {}
    for name in LEFT_OUT if ablation else ():
        own, other = without(name, seen, seen), without(name, unseen, seen)
        formula = _fit_analytic(own, cache_bytes)
        blind, _ = _train(own, formula, how, tell, f"train without {name}")
        worth[name] = errors_of(predict(NeuralCost(arrays_of(blind), formula, {}), other), other)
    fitted = Fitted(
        cost=cost,
        errors=errors_of(predict(cost, unseen), unseen),
        analytic_errors=errors_of(_predict_analytic(analytic, unseen), unseen),
        noise=noise,
        above=share_above(cost, sets),
        curve=curve,
        ablation=worth,
        exchange_errors=exchange_errors,
    )
    return replace(fitted, cost=replace(cost, facts=_facts(fitted, hardware, seen, how)))


def share_above(cost: NeuralCost, sets: Sequence[MeasuredSet], pairs: int = 20_000) -> tuple[float, float]:
    """Pairs A, B of sets with cost(A + B) > cost(A) + cost(B): their share, and the 99.9 % quantile of the excess."""
    sums = np.stack([cost.rows_of(own.columns).sum(0) for own in sets])
    first, second = np.random.default_rng(0).integers(len(sums), size=(2, pairs))
    ratio = cost.ms(sums[first] + sums[second]) / (cost.ms(sums[first]) + cost.ms(sums[second]))
    return float((ratio > 1 + 1e-6).mean()), float(np.quantile(ratio, 0.999) - 1)


def arrays_of(network: CostNetwork) -> dict[str, np.ndarray]:
    """The network's numbers as `NeuralCost` takes them."""
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def sets_tensor(sets: Sequence[MeasuredSet], analytic: AnalyticCost) -> Sets:
    """Measured sets as the network takes them."""
    return Sets.of(
        [inputs_of(own.columns) for own in sets],
        [scale_ms(analytic, own.columns) for own in sets],
        [own.ms for own in sets],
    )


def _train(
    seen: Sequence[MeasuredSet],
    analytic: AnalyticCost,
    how: Training,
    tell: Tell,
    what: str,
) -> tuple[CostNetwork, Curve]:
    held = [own for place, own in enumerate(seen) if place % VALIDATION_EVERY == 0]
    rest = [own for place, own in enumerate(seen) if place % VALIDATION_EVERY]
    return train_network(
        sets_tensor(rest, analytic),
        sets_tensor(held, analytic),
        how,
        tell=lambda epoch, error: tell(what, epoch + 1, how.epochs),
    )


def _fit_analytic(sets: Sequence[MeasuredSet], cache_bytes: float) -> AnalyticCost:
    return fit_analytic([_terms(own.columns) for own in sets], np.array([own.ms for own in sets]), cache_bytes)


def _predict_analytic(analytic: AnalyticCost, sets: Sequence[MeasuredSet]) -> np.ndarray:
    return analytic.ms(np.stack([analytic.rows_of(_terms(own.columns)).sum(0) for own in sets]))


def _terms(columns: np.ndarray) -> np.ndarray:
    return terms_of(columns[:, 0], columns[:, 2], columns[:, 3], columns[:, 5:])


def _facts(fitted: Fitted, hardware: dict[str, Any], seen: Sequence[MeasuredSet], how: Training) -> dict[str, Any]:
    return {
        "hardware": hardware,
        "sets": {"train": len(seen), "unseen": fitted.errors.num_sets, "unseen_large": fitted.errors.num_large},
        "large_ms": LARGE_MS,
        "error": {"all": fitted.errors.all_sets, "large": fitted.errors.large},
        "error_by_ms": [list(part) for part in fitted.errors.by_ms],
        "analytic_error": {"all": fitted.analytic_errors.all_sets, "large": fitted.analytic_errors.large},
        "repeat_noise": None if fitted.noise is None else {"all": fitted.noise[0], "large": fitted.noise[1]},
        "pairs_above_their_sum": {"share": fitted.above[0], "worst_of_1000": fitted.above[1]},
        "ablation": {name: {"all": e.all_sets, "large": e.large} for name, e in fitted.ablation.items()},
        "exchange_error": fitted.exchange_errors,
        "probe_power": PROBE_POWER,
        "seed": how.seed,
        "curve": {"train": list(fitted.curve.train), "validation": list(fitted.curve.validation)},
    }
