"""EB-NeRD, the news impressions of the RecSys challenge 2024 (Kruse et al. 2024).

`DIR/{train,validation}/{behaviors,history}.parquet`. A session id is unique inside a split only. What is known only
after an impression (its read time and scroll, the next ones) is never a feature, nor is the number of candidates.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.logs.adapters.as_of import EventCounts
from recfold.logs.adapters.frames import in_chunks, read_parquet, rejected, selected
from recfold.logs.source import Chunk, LogSource
from recfold.spec import InputError, Schema

SPLITS = ("train", "validation")
HOUR_US = 3_600_000_000
CHUNK_REQUESTS = 8192
_VISITOR = ("device_type", "is_sso_user", "gender", "postcode", "age", "is_subscriber")
_COUNTS = ("views", "clicks", "views_last_hour", "clicks_last_hour")
_HISTORY_LENGTH = 50


def ebnerd(path: Path) -> LogSource:
    """Impressions with as-of counts of the candidate; each user's history once, in a side table.

    Raises:
        InputError: the folder has neither split, or a file is damaged.
    """
    splits = [split for split in SPLITS if (path / split / "behaviors.parquet").exists()]
    if not splits:
        raise InputError(
            f"{path} is not EB-NeRD", expected="train/behaviors.parquet and validation/behaviors.parquet below it"
        )
    return LogSource(
        schema=_schema(),
        impressions=partial(_impressions, path, splits),
        outcomes=partial(_outcomes, path, splits),
        sides={"history": partial(_histories, path, splits)},
        inferred=(),
        description=f"EB-NeRD: {', '.join(splits)}",
    )


def _schema() -> Schema:
    log = [{"op": "log"}]
    last = {"op": "truncate", "length": _HISTORY_LENGTH}
    history = {"group": "history", "side": "history"}
    features: dict[str, dict[str, object]] = {
        "article": {"kind": "id", "table": "article", "group": "sample"},
        **{name: {"kind": "id", "group": "visitor"} for name in _VISITOR},
        "page_article": {"kind": "id", "table": "article", "group": "page"},
        "hour": {"kind": "id", "group": "page"},
        **{name: {"kind": "dense", "group": "sample", "transforms": log} for name in _COUNTS},
        "click_rate": {"kind": "dense", "group": "sample"},
        "click_rate_last_hour": {"kind": "dense", "group": "sample"},
        "minutes_in_view": {"kind": "dense", "group": "sample", "transforms": log},
        "history_article": {"kind": "sequence", "table": "article", "transforms": [last], **history},
        "history_read_time": {"kind": "dense_sequence", "transforms": [last, *log], **history},
        "history_scroll": {
            "kind": "dense_sequence",
            "transforms": [last, {"op": "fill", "value": 0.0}, *log],
            **history,
        },
    }
    return Schema.model_validate(
        {
            "infer": False,
            "logs": {"impressions": "*/behaviors.parquet"},
            "keys": {
                "request": "impression_id",
                "candidate": "article_ids_inview",
                "position": "position",
                "session": "session_id",
                "user": "user_id",
                "time": "impression_time",
                "split": "split",
            },
            "outcomes": {"request": "impression_id", "candidate": "article_ids_clicked", "time": "impression_time"},
            "labels": {"click": {"event": "click"}},
            "features": features,
            "groups": {
                "visitor": {"kind": "session"},
                "page": {"kind": "session"},
                "history": {"kind": "dictionary", "key": "user"},
            },
            "sides": {"history": {"files": "*/history.parquet", "key": "user", "column": "user_id", "split": "split"}},
        }
    )


def _behaviors(path: Path, splits: list[str]) -> pl.DataFrame:
    columns = ["impression_id", "impression_time", "article_ids_inview", "article_ids_clicked", "user_id", "session_id"]
    frames = [
        read_parquet(path / split / "behaviors.parquet", [*columns, "article_id", *_VISITOR])
        .with_columns(split=pl.lit(split))
        .with_row_index("row")
        for split in splits
    ]
    return pl.concat(frames, how="vertical_relaxed").with_columns(time=pl.col("impression_time").dt.epoch("us"))


def _impressions(path: Path, splits: list[str]) -> Iterator[Chunk]:
    behaviors = _behaviors(path, splits)
    views, clicks = _events(behaviors)
    for start in range(0, behaviors.height, CHUNK_REQUESTS):
        requests = behaviors.slice(start, CHUNK_REQUESTS)
        rows = (
            requests.filter(pl.col("article_ids_inview").list.len() > 0)
            .with_columns(position=pl.int_ranges(pl.col("article_ids_inview").list.len()))
            .explode("article_ids_inview", "position")
        )
        good, bad = _without_nulls(rows, "article_ids_inview", "impressions")
        yield from in_chunks(_canonical_impressions(good, views, clicks), bad, rows=max(good.height, 1))


def _without_nulls(rows: pl.DataFrame, column: str, source: str) -> tuple[pl.DataFrame, pa.Table]:
    """Rows whose candidate is there, and the others as rejected rows."""
    missing = pl.col(column).is_null()
    bad = rows.filter(missing).select("row", "split", "impression_id", "time")
    return rows.filter(~missing).drop("row"), rejected(bad, source, Path("behaviors.parquet"), "null candidate")


def _canonical_impressions(rows: pl.DataFrame, views: EventCounts, clicks: EventCounts) -> pl.DataFrame:
    columns: dict[str, str | pl.Expr] = {
        "request": "impression_id",
        "candidate": "article_ids_inview",
        "position": "position",
        "session": "session_id",
        "user": "user_id",
        "time": "time",
        "split": "split",
        "feature.article": "article_ids_inview",
        **{f"feature.{name}": name for name in _VISITOR},
        "feature.page_article": "article_id",
        "feature.hour": pl.col("impression_time").dt.hour().cast(pl.Int64),
    }
    as_of = _as_of(rows["article_ids_inview"].to_numpy(), rows["time"].to_numpy(), views, clicks)
    return selected(rows, columns).with_columns(as_of)


def _as_of(articles: np.ndarray, times: np.ndarray, views: EventCounts, clicks: EventCounts) -> list[pl.Series]:
    """What had been seen of each candidate strictly before its impression, in both splits."""
    seen, clicked = views.before(articles, times), clicks.before(articles, times)
    seen_late = seen - views.before(articles, times - HOUR_US)
    clicked_late = clicked - clicks.before(articles, times - HOUR_US)
    first, known = views.first_time(articles)
    minutes = np.where(known & (first < times), (times - first) / 60e6, 0.0)
    columns = dict(zip(_COUNTS, (seen, clicked, seen_late, clicked_late), strict=True))
    columns["click_rate"] = (clicked + 1) / (seen + 20)  # smoothed: one click in twenty views where nothing is known
    columns["click_rate_last_hour"] = (clicked_late + 1) / (seen_late + 20)
    columns["minutes_in_view"] = minutes
    return [pl.Series(f"feature.{name}", values.astype(np.float32)) for name, values in columns.items()]


def _events(behaviors: pl.DataFrame) -> tuple[EventCounts, EventCounts]:
    """Views and clicks of articles in all splits; a click that is doubled in the log counts once."""
    views = behaviors.select("time", article="article_ids_inview").explode("article").drop_nulls()
    clicks = (
        behaviors.select("time", "impression_id", article="article_ids_clicked")
        .explode("article")
        .drop_nulls()
        .unique()
    )
    return (
        EventCounts(views["article"].to_numpy(), views["time"].to_numpy()),
        EventCounts(clicks["article"].to_numpy(), clicks["time"].to_numpy()),
    )


def _outcomes(path: Path, splits: list[str]) -> Iterator[Chunk]:
    clicked = _behaviors(path, splits).select("row", "split", "impression_id", "time", candidate="article_ids_clicked")
    rows = clicked.filter(pl.col("candidate").list.len() > 0).explode("candidate")
    good, bad = _without_nulls(rows, "candidate", "outcomes")
    yield from in_chunks(
        good.select(request="impression_id", candidate="candidate", event=pl.lit("click"), time="time"), bad
    )


def _histories(path: Path, splits: list[str]) -> Iterator[Chunk]:
    columns = ["user_id", "article_id_fixed", "read_time_fixed", "scroll_percentage_fixed"]
    for split in splits:
        rows = read_parquet(path / split / "history.parquet", columns)
        features = {
            "feature.history_article": "article_id_fixed",
            "feature.history_read_time": "read_time_fixed",
            "feature.history_scroll": "scroll_percentage_fixed",
        }
        yield from in_chunks(selected(rows, {"key": "user_id", "split": pl.lit(split), **features}))
