"""MIND, the Microsoft news data set (Wu et al. 2020): `behaviors.tsv` and `news.tsv`.

Joined already: candidates read `N123-1` (clicked) or `N123-0`. A candidate may stand twice in an impression, at two
positions. There are no sessions: a user's visits are told apart by pauses.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.logs.adapters.as_of import EventCounts
from recfold.logs.adapters.frames import in_chunks, integers_where_all_are, read_separated, rejected, selected
from recfold.logs.canonical_times import LATEST_US
from recfold.logs.source import Chunk, LogSource
from recfold.spec import InputError, Schema

_BEHAVIORS = ["impression", "user", "time", "history", "candidates"]
_NEWS = ["news", "category", "subcategory"]
_TIME = "%m/%d/%Y %I:%M:%S %p"
_HISTORY_LENGTH = 50


def mind(path: Path) -> LogSource:
    """One row per candidate, with its category where known, the reader's history and as-of counts.

    Raises:
        InputError: there is no behaviors.tsv.
    """
    if not (path / "behaviors.tsv").exists():
        raise InputError(f"{path} is not MIND", expected="behaviors.tsv in it")
    log = [{"op": "log"}]
    schema = Schema.model_validate(
        {
            "infer": False,
            "logs": {"impressions": "behaviors.tsv"},
            "keys": {
                "request": "impression",
                "candidate": "candidates",
                "position": "position",
                "user": "user",
                "time": "time",
            },
            "labels": {"click": {"column": "clicked"}},
            "features": {
                "news": {"kind": "id", "table": "news", "group": "sample"},
                "category": {"kind": "id", "group": "sample"},
                "subcategory": {"kind": "id", "group": "sample"},
                "views": {"kind": "dense", "group": "sample", "transforms": log},
                "clicks": {"kind": "dense", "group": "sample", "transforms": log},
                "click_rate": {"kind": "dense", "group": "sample"},
                "hour": {"kind": "id", "group": "moment"},
                "history": {
                    "kind": "sequence",
                    "table": "news",
                    "group": "reader",
                    "transforms": [{"op": "truncate", "length": _HISTORY_LENGTH}],
                },
            },
            "groups": {"reader": {"kind": "session"}, "moment": {"kind": "session"}},
        }
    )
    return LogSource(schema, partial(_impressions, path), None, {}, (), "MIND news impressions")


def _impressions(path: Path) -> Iterator[Chunk]:
    file = path / "behaviors.tsv"
    read = integers_where_all_are(read_separated(file, "\t", _BEHAVIORS), ["impression"]).with_row_index("row")
    parsed = read.with_columns(
        moment=pl.col("time").str.to_datetime(_TIME, strict=False, time_unit="us"),
        candidate=pl.col("candidates").str.split(" "),
    )
    wrong = pl.any_horizontal(
        pl.col("impression", "user", "moment", "candidates").is_null(),
        ~pl.col("candidate").list.eval(pl.element().str.contains("^.+-[01]$")).list.all(),
    ).fill_null(True)
    late = ~wrong & ~pl.col("moment").dt.epoch("us").is_between(0, LATEST_US)
    good = parsed.filter(~wrong & ~late)
    rows = (
        good.with_columns(position=pl.int_ranges(pl.col("candidate").list.len()))
        .explode("candidate", "position")
        .with_columns(
            news=pl.col("candidate").str.head(-2),
            clicked=pl.col("candidate").str.tail(1).cast(pl.Float32),
            time=pl.col("moment").dt.epoch("us"),
            history=pl.col("history").str.split(" ").fill_null([]),
        )
        .join(_news(path), on="news", how="left", maintain_order="left")
    )
    table = selected(
        rows,
        {
            "request": "impression",
            "candidate": "news",
            "position": "position",
            "user": "user",
            "time": "time",
            "label.click": "clicked",
            "feature.news": "news",
            "feature.category": "category",
            "feature.subcategory": "subcategory",
            "feature.hour": pl.col("moment").dt.hour().cast(pl.Int64),
            "feature.history": "history",
        },
    )
    no_time = pl.col("time").is_not_null() & pl.col("moment").is_null()
    bad = pa.concat_tables(
        rejected(parsed.filter(which).select("row", *_BEHAVIORS), "impressions", file, reason)
        for which, reason in (
            (wrong & no_time, "unparsable time"),
            (wrong & ~no_time, "unparsable row"),
            (late, "time out of range"),
        )
    )
    yield from in_chunks(table.with_columns(_as_of(rows)), bad)


def _news(path: Path) -> pl.DataFrame:
    if not (path / "news.tsv").exists():
        return pl.DataFrame(schema=dict.fromkeys(_NEWS, pl.String))
    return read_separated(path / "news.tsv", "\t", _NEWS).unique("news", keep="first", maintain_order=True)


def _as_of(rows: pl.DataFrame) -> list[pl.Series]:
    news = rows["news"].cast(pl.Categorical).to_physical().cast(pl.Int64).to_numpy()
    times, clicked = rows["time"].to_numpy(), rows["clicked"].to_numpy() > 0
    views = EventCounts(news, times).before(news, times)
    clicks = EventCounts(news[clicked], times[clicked]).before(news, times)
    columns = {"views": views, "clicks": clicks, "click_rate": (clicks + 1) / (views + 20)}
    return [pl.Series(f"feature.{name}", values.astype(np.float32)) for name, values in columns.items()]
