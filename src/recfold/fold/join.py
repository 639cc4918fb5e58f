"""Outcomes to impressions: the join inside the attribution window, one request bucket at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from recfold.spec import Schema

HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class JoinRule:
    """What joins.

    Attributes:
        labels: label -> (event, use) of the labels that come from events.
        window_us: an outcome later than this after its impression is late.
        cut: where validation starts; an outcome from then on labels no sample before it. None: no cut by time.
    """

    labels: Mapping[str, tuple[str, str]]
    window_us: int
    cut: int | None


@dataclass(frozen=True)
class Joined:
    """One bucket after the join.

    Attributes:
        impressions: as they came, with `label.<name>` and `reason` (null for samples).
        rejected: outcomes that joined nothing, with `reason`.
        joined: number of outcomes that joined.
    """

    impressions: pl.DataFrame
    rejected: pl.DataFrame
    joined: int


def join_rule(schema: Schema, window_hours: float, cut: int | None) -> JoinRule:
    labels = {name: (label.event, label.use) for name, label in schema.labels.items() if label.event is not None}
    return JoinRule(labels, round(window_hours * HOUR_US), cut)


def join(impressions: pl.DataFrame, outcomes: pl.DataFrame | None, rule: JoinRule) -> Joined:
    """Join the outcomes of some requests to their impressions.

    An outcome joins the sample of its request and candidate; of several positions the first; without a candidate in the
    outcomes, the only candidate of the request. The earliest of several equal outcomes joins; the others are
    duplicates.
    """
    keys = [name for name in ("request", "candidate", "position") if name in impressions.columns]
    impressions = impressions.sort("time", "row").with_columns(
        reason=pl.when(pl.int_range(pl.len()).over(keys) > 0).then(pl.lit("duplicate candidate row"))
    )
    if outcomes is None:
        outcomes = pl.DataFrame(schema={**{name: impressions.schema[name] for name in keys[:1]}, "event": pl.String})
        outcomes = outcomes.with_columns(outcome=pl.lit(0, pl.Int64))
    judged = _judge(impressions.filter(pl.col("reason").is_null()), outcomes, rule)
    joined = judged.filter(pl.col("reason").is_null())
    for label, (event, use) in rule.labels.items():
        value = pl.lit(1.0) if use == "seen" or "value" not in joined.columns else pl.col("value").fill_null(0.0)
        hits = joined.filter(pl.col("event") == event).select(row="target", hit=value.cast(pl.Float32))
        impressions = impressions.join(hits, on="row", how="left", maintain_order="left")
        impressions = impressions.rename({"hit": f"label.{label}"}).with_columns(
            pl.col(f"label.{label}").fill_null(0.0)
        )
    rejected = judged.filter(pl.col("reason").is_not_null()).select(*outcomes.columns, "reason").sort("outcome")
    return Joined(impressions, rejected, joined.height)


def _judge(samples: pl.DataFrame, outcomes: pl.DataFrame, rule: JoinRule) -> pl.DataFrame:
    """The outcomes with `target` (row number of their sample) and `reason` (null where they join)."""
    on = [name for name in ("request", "candidate") if name in samples.columns and name in outcomes.columns]
    order = [name for name in ("position", "time", "row") if name in samples.columns]
    targets = (
        samples.sort(order, nulls_last=True)
        .group_by(on, maintain_order=True)
        .agg(
            target=pl.col("row").first(),
            shown=pl.col("time").first(),
            candidates=pl.col("candidate").n_unique() if "candidate" in samples.columns else pl.lit(1),
        )
    )
    events = pl.Series([event for event, _ in rule.labels.values()], dtype=pl.String).implode()
    found = outcomes.join(targets, on=on, how="left", maintain_order="left")
    reason = (
        pl.when(~pl.col("event").is_in(events).fill_null(False))
        .then(pl.lit("unknown event"))
        .when(pl.col("target").is_null())
        .then(pl.lit("orphan"))
        .when(pl.col("candidates") > 1)
        .then(pl.lit("ambiguous candidate"))
    )
    if "time" in outcomes.columns:
        reason = (
            reason.when(pl.col("time") < pl.col("shown"))
            .then(pl.lit("early"))
            .when(pl.col("time") - pl.col("shown") > rule.window_us)
            .then(pl.lit("late"))
        )
        if rule.cut is not None:
            reason = reason.when((pl.col("shown") < rule.cut) & (pl.col("time") >= rule.cut)).then(
                pl.lit("after split")
            )
        found = found.sort("time", "outcome", nulls_last=True)
    found = found.with_columns(reason=reason.otherwise(None))
    again = pl.col("reason").is_null() & (pl.int_range(pl.len()).over("target", "event", "reason") > 0)
    return found.with_columns(reason=pl.when(again).then(pl.lit("duplicate outcome")).otherwise("reason"))
