"""The samples of a partition in the order in which they are folded, with their sessions and units."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.fold.bits import element_hash
from recfold.fold.partition import UNIT
from recfold.spec import splitmix64
from recfold.table.lists import one_array

MINUTE_US = 60_000_000

_NARROW = ("session", "user", "time", "request", "position", "split", "row")
_MADE_SEED = 7


@dataclass(frozen=True)
class UnitRule:
    """What a unit is: its kind, and the pause that ends a session where the logs give none (µs)."""

    fold_by: Literal["session", "request", "user"]
    gap_us: int

    @classmethod
    def of(cls, fold_by: Literal["session", "request", "user"], gap_minutes: float) -> "UnitRule":
        return cls(fold_by, round(gap_minutes * MINUTE_US))


def arrange(rows: pa.Table, rule: UnitRule) -> pa.Table:
    """Sort samples: splits, in them units by first time, in a unit samples by (time, request, position).

    Args:
        rows: canonical columns of one partition, `split` as a number, and `row`.
    Returns:
        the rows sorted, with `unit` (0, 1, ... over all splits), with `session` everywhere, and with `session.made`
        (where the logs have a session column but not all of its values) saying which sessions are made up.
    """
    names = [name for name in _NARROW if name in rows.column_names]
    frame = pl.DataFrame(pl.from_arrow(rows.select(names))).with_columns(at=pl.int_range(pl.len()))
    frame = _sessions(frame, rule.gap_us)
    if rule.fold_by == "request":
        unit = [pl.col("request").alias("u0")]
    elif rule.fold_by == "user" and "user" in frame.columns:
        nobody = pl.col("user").is_null()
        unit = [pl.col("user").alias("u0"), *(pl.when(nobody).then(f"s{i}").alias(f"u{i + 1}") for i in range(3))]
    else:
        unit = [pl.col(f"s{i}").alias(f"u{i}") for i in range(3)]
    frame = frame.with_columns(unit)
    keys = [f"u{i}" for i in range(len(unit))]
    frame = frame.with_columns(began=pl.col("time").min().over("split", *keys))
    order = [name for name in ("split", "began", *keys, "time", "request", "position", "row") if name in frame.columns]
    frame = frame.sort(order, nulls_last=True).with_columns(pl.struct("split", "began", *keys).rle_id().alias(UNIT))
    sorted_rows = rows.take(frame["at"].to_arrow())
    sorted_rows = sorted_rows.append_column(UNIT, pa.array(frame[UNIT].to_numpy().astype(np.int64)))
    return _with_made_sessions(sorted_rows, frame)


def _sessions(frame: pl.DataFrame, gap_us: int) -> pl.DataFrame:
    """s0: the given session; where there is none s1, s2: the user and the number of the visit."""
    if "session" not in frame.columns:
        frame = frame.with_columns(session=pl.lit(None, pl.Int64))
    given = pl.col("session").is_not_null()
    user = pl.col("user") if "user" in frame.columns else pl.lit(None, pl.Int64)
    frame = frame.with_columns(s0=pl.col("session"), s1=pl.when(~given).then(user)).sort("time", "row")
    pause = (pl.col("time").diff() > gap_us).fill_null(False).cast(pl.Int64).cum_sum().over("split", "s0", "s1")
    return frame.with_columns(s2=pl.when(~given).then(pause))


def _with_made_sessions(rows: pa.Table, frame: pl.DataFrame) -> pa.Table:
    """Ids for visits that have none: 64 bits of (user, first time of the visit), as text where sessions are text."""
    made = frame["s0"].is_null()
    had_column = "session" in rows.column_names
    if not made.any():
        return rows
    began = frame.select(pl.col("time").min().over("split", "s0", "s1", "s2")).to_series().to_numpy()
    user = element_hash(one_array(rows["user"]), _MADE_SEED)
    ids = splitmix64(user ^ splitmix64(began, _MADE_SEED)).view(np.int64)
    made_ids = pl.Series("made", ids)
    if not had_column:
        return rows.append_column("session", made_ids.to_arrow())
    column = pl.Series("session", pl.from_arrow(one_array(rows["session"])))
    if column.dtype == pl.String:
        text = pl.format("{}", pl.col("made").reinterpret(signed=False))
        made_ids = pl.DataFrame(made_ids).select(text).to_series()
    filled = pl.select(pl.when(made).then(made_ids).otherwise(column)).to_series().to_arrow()
    index = rows.column_names.index("session")
    type = pa.string() if column.dtype == pl.String else pa.int64()
    rows = rows.set_column(index, "session", filled.cast(type))
    return rows.append_column("session.made", made.to_arrow())
