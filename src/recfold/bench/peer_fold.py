"""The fold's peer: both logs joined with polars, sorted by session, written as clustered Parquet."""

from pathlib import Path

import polars as pl

from recfold.bench.peer_files import ROW_GROUP_BYTES, split_path
from recfold.fold import FoldSettings
from recfold.spec import Schema
from recfold.table.files import ZSTD_LEVEL

_HOUR_US = 3_600_000_000
_VALIDATION_SHARE = 0.1


def fold_with_polars(logs: Path, schema: Schema, out: Path) -> int:
    """Labels from outcomes in the attribution window, the last tenth by time as validation, rows clustered by session.

    Args:
        logs: folder of generated logs. schema: their features.toml.
        out: folder for `train.parquet` and `validation.parquet`; columns as in the logs, and the labels.
    Returns:
        number of samples.
    """
    outcomes = schema.outcomes
    assert outcomes is not None
    assert outcomes.candidate is not None
    assert outcomes.event is not None
    keys = schema.keys
    shown = pl.scan_parquet(logs / schema.logs.impressions)
    happened = pl.scan_parquet(logs / str(schema.logs.outcomes)).rename(
        {outcomes.request: keys.request, outcomes.candidate: str(keys.candidate), str(outcomes.time): "happened"}
    )
    on, time = [keys.request, str(keys.candidate)], pl.col(keys.time)
    times = shown.select(keys.time).collect()[keys.time].sort()
    num_train = len(times) - int(len(times) * _VALIDATION_SHARE)
    cut = times[num_train] if num_train < len(times) else None
    waited = pl.col("happened") - time
    hits = happened.join(shown.select(*on, keys.time), on=on).filter(
        waited.is_between(0, round(FoldSettings().window_hours * _HOUR_US))
    )
    if cut is not None:
        hits = hits.filter((time >= cut) | (pl.col("happened") < cut))
    joined = shown
    for label, spec in schema.labels.items():
        of_label = hits.filter(pl.col(outcomes.event) == spec.event).select(on).unique()
        of_label = of_label.with_columns(pl.lit(1.0, pl.Float32).alias(label))
        joined = joined.join(of_label, on=on, how="left").with_columns(pl.col(label).fill_null(0.0))
    later = pl.lit(False) if cut is None else time >= cut
    rows = joined.sort(later, str(keys.session), keys.time, keys.request).collect()
    num_train = rows.height if cut is None else rows.select((time < cut).sum()).item()
    per_group = max(int(ROW_GROUP_BYTES * rows.height / max(rows.estimated_size(), 1)), 1)
    for split, part in (("train", rows[:num_train]), ("validation", rows[num_train:])):
        if part.height:
            path = split_path(out, split)
            part.write_parquet(path, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=per_group)
    return rows.height
