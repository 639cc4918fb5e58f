"""Evaluation of a run on a split, next to the popularity baselines."""

from pathlib import Path

import numpy as np
from pydantic import Field

from recfold.spec import Schema, Settings
from recfold.table import FoldedTable
from recfold.train.metrics import LabelMetrics, label_metrics, sigmoid
from recfold.train.popularity import Seen, as_of_click_rate, base_rate, click_rate
from recfold.train.progress import TrainProgress, silent
from recfold.train.ranks import current_ranks
from recfold.train.run import write_json
from recfold.train.scores import Scored, score, seen_in
from recfold.train.trained import trained_learner

TRAIN_POPULARITY = "popularity in train"
AS_OF_POPULARITY = "popularity so far"
NUM_BINS = 10


class Bin(Settings):
    """Samples of like predictions: their mean prediction, mean label and number (or weight)."""

    predicted: float
    observed: float
    num_samples: float


class LabelEvaluation(Settings):
    """The model and the baselines on one label.

    Args:
        baselines: `popularity in train` (the candidate's smoothed click rate in the training split) and `popularity so
            far` (the same over all samples strictly before the one that is scored).
        bins: tenths of the samples by prediction.
    """

    model: LabelMetrics
    baselines: dict[str, LabelMetrics] = Field(default_factory=dict)
    bins: tuple[Bin, ...] = ()


class Evaluation(Settings):
    """What `evaluation.json` says.

    Args:
        step: steps of the checkpoint that was evaluated.
        labels: in the schema's order.
        notes: what could not be computed and why; damaged checkpoints that were passed over.
    """

    split: str
    step: int
    samples: int
    labels: dict[str, LabelEvaluation]
    notes: tuple[str, ...] = ()


def evaluate(
    run: Path | str,
    table: FoldedTable | Path | str,
    split: str = "validation",
    *,
    checkpoint: str | None = None,
    progress: TrainProgress = silent,
) -> Evaluation:
    """Score a split with a run's model and compare with the popularity baselines.

    Kept as RUN/evaluation.json, which the report shows; that of another split than `validation` as
    RUN/evaluation-SPLIT.json. In a process group every rank calls it and scores a share; all return the same.

    Args:
        checkpoint: `best`, `last`, or None for the best where the run stops early, else the last.
    Raises:
        InputError: no run, no complete checkpoint, no such split, or a table without the run's features.
    """
    ranks = current_ranks()
    trained = ranks.together(lambda: trained_learner(run, table, checkpoint, ranks))
    assert trained is not None
    scored = score(trained.learner, trained.table, split, trained.schema, trained.run.settings, progress)
    said = None
    if scored is not None:
        found = trained.checkpoint
        evaluation = evaluation_of(scored, trained.table, split, trained.schema, step=found.step, baselines=True)
        evaluation = evaluation.model_copy(update={"notes": (*found.skipped, *evaluation.notes)})
        name = "evaluation.json" if split == "validation" else f"evaluation-{split}.json"
        said = evaluation.model_dump(mode="json")
        write_json(trained.run.path / name, said)
    return Evaluation.parse(ranks.first(said), "the evaluation of rank 0")


def evaluation_of(
    scored: Scored, table: FoldedTable, split: str, schema: Schema, *, step: int, baselines: bool
) -> Evaluation:
    """Evaluate scores of a split."""
    labels: dict[str, LabelEvaluation] = {}
    notes: tuple[str, ...] = ()
    for number, label in enumerate(schema.labels):
        found: dict[str, LabelMetrics] = {}
        if baselines:
            found, notes = _baselines(scored, table, split, label, number)
        labels[label] = LabelEvaluation(
            model=_metrics(scored, scored.logits[:, number], number),
            baselines=found,
            bins=_bins(sigmoid(scored.logits[:, number]), scored.labels[:, number], scored.weights),
        )
    return Evaluation(split=split, step=step, samples=len(scored.logits), labels=labels, notes=notes)


def _metrics(scored: Scored, logits_N: np.ndarray, number: int) -> LabelMetrics:
    return label_metrics(
        logits_N,
        scored.labels[:, number],
        weights_N=scored.weights,
        requests_N=scored.keys.get("request"),
        sessions_N=scored.keys.get("session"),
    )


def _baselines(
    scored: Scored, table: FoldedTable, split: str, label: str, number: int
) -> tuple[dict[str, LabelMetrics], tuple[str, ...]]:
    if "candidate" not in scored.keys:
        return {}, ("no popularity baseline: the logs have no candidate key",)
    if "train" not in table.splits():
        return {}, ("no popularity baseline: the table has no training samples",)
    train = seen_in(table, "train", label)
    weights = np.ones(len(scored.labels)) if scored.weights is None else scored.weights
    here = Seen(scored.keys["candidate"], scored.keys.get("time"), scored.labels[:, number], weights)
    rate = base_rate(train)
    rates = {TRAIN_POPULARITY: click_rate(train, here.candidates, rate)}
    if here.times is not None:
        # evaluated on the training split, its samples must not count twice
        nothing = Seen(here.candidates[:0], here.times[:0], here.labels[:0], here.weights[:0])
        before = nothing if split == "train" else train
        rates[AS_OF_POPULARITY] = as_of_click_rate(before, here, rate)
    return {name: _metrics(scored, _logit(rate_N), number) for name, rate_N in rates.items()}, ()


def _logit(rate_N: np.ndarray) -> np.ndarray:
    rate_N = np.clip(rate_N, 1e-12, 1 - 1e-12)  # a base rate of exactly 0 or 1 has no logit
    return np.log(rate_N) - np.log1p(-rate_N)


def _bins(predicted_N: np.ndarray, labels_N: np.ndarray, weights_N: np.ndarray | None) -> tuple[Bin, ...]:
    weights = np.ones(len(labels_N)) if weights_N is None else weights_N
    found = []
    for members in np.array_split(np.argsort(predicted_N, kind="stable"), NUM_BINS):
        total = float(weights[members].sum())
        if total > 0:
            predicted = float(weights[members] @ predicted_N[members]) / total
            observed = float(weights[members] @ labels_N[members]) / total
            found.append(Bin(predicted=predicted, observed=observed, num_samples=total))
    return tuple(found)
