"""MovieLens ratings (Harper and Konstan 2015) in three layouts: RecBole `.inter`, GroupLens `u.data`, `ratings.dat`.

A rating of 4 or more is a positive. A history is a user's last 50 ratings of a strictly earlier second.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.logs.adapters.as_of import EventCounts
from recfold.logs.adapters.frames import canonical, integers_where_all_are, read_separated, rejected, selected
from recfold.logs.canonical_times import LATEST_US
from recfold.logs.source import Chunk, LogSource, nothing_rejected
from recfold.spec import InputError, Schema

HISTORY_LENGTH = 50
POSITIVE = 4.0
MIDDLING = 3.5
CHUNK_ROWS = 50_000
_RATING = ["user", "item", "rating", "time"]
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)


@dataclass(frozen=True)
class Layout:
    """One way that MovieLens is published.

    Args:
        ratings: the file of ratings.
        read: folder -> ratings, users and items: string columns `user, item, rating, time`; `user` and facts; `item`
            and facts (`genres` a list).
    """

    ratings: str
    read: Callable[[Path], tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]


def movielens(path: Path) -> LogSource:
    """One row per rating, joined; a window group of the user's earlier ratings.

    Raises:
        InputError: none of the layouts is there, or its columns are others.
    """
    for layout in LAYOUTS:
        files = sorted(path.glob(layout.ratings))
        if files:
            break
    else:
        raise InputError(
            f"{path} is not MovieLens", expected=f"one of {', '.join(layout.ratings for layout in LAYOUTS)} in it"
        )
    if len(files) > 1:
        raise InputError(f"{path} holds several files {layout.ratings}", got=", ".join(file.name for file in files))
    _, users, items = layout.read(files[0])
    facts = {f"user_{name}": "profile" for name in users.columns if name != "user"}
    facts |= {f"item_{name}": "sample" for name in items.columns if name != "item"}
    return LogSource(
        schema=_schema(layout, facts),
        impressions=partial(_impressions, files[0], layout),
        outcomes=None,
        sides={},
        inferred=(),
        description=f"MovieLens: {files[0].name}",
    )


def _schema(layout: Layout, facts: dict[str, str]) -> Schema:
    log = [{"op": "log"}]
    kinds = {"item_genres": "ids", "item_year": "dense"}
    borders = [float(year) for year in range(1930, 2030, 5)]  # an unknown year is a bucket of its own
    years = {"item_year": {"transforms": [{"op": "bucketize", "borders": borders}]}}
    return Schema.model_validate(
        {
            "infer": False,
            "logs": {"impressions": layout.ratings},
            "keys": {"request": "row", "candidate": "item", "user": "user", "time": "timestamp", "time_unit": "s"},
            "labels": {"like": {"column": "rating"}},
            "features": {
                "item": {"kind": "id", "table": "item", "group": "sample"},
                "user": {"kind": "id", "group": "profile"},
                **{
                    name: {"kind": kinds.get(name, "id"), "group": group, **years.get(name, {})}
                    for name, group in facts.items()
                },
                "item_ratings": {"kind": "dense", "group": "sample", "transforms": log},
                "item_like_odds": {"kind": "dense", "group": "sample"},
                "item_stars": {"kind": "dense", "group": "sample"},
                "user_ratings": {"kind": "dense", "group": "sample", "transforms": log},
                "user_like_odds": {"kind": "dense", "group": "sample"},
                "history_item": {"kind": "sequence", "table": "item", "group": "history"},
                "history_rating": {"kind": "sequence", "group": "history"},
            },
            "groups": {"profile": {"kind": "session"}, "history": {"kind": "window"}},
        }
    )


def _impressions(file: Path, layout: Layout) -> Iterator[Chunk]:
    read, users, items = layout.read(file)
    read = integers_where_all_are(read, ["user", "item"]).with_row_index("row")
    parsed = read.with_columns(
        stars=pl.col("rating").cast(pl.Float32, strict=False), moment=pl.col("time").cast(pl.Float64, strict=False)
    )
    wrong = pl.any_horizontal(pl.col("user", "item", "stars", "moment").is_null(), ~pl.col("moment").is_finite())
    late = ~wrong & ~pl.col("moment").is_between(0, LATEST_US / 1e6, closed="left")
    bad = pa.concat_tables(
        rejected(parsed.filter(which).select("row", *_RATING), "impressions", file, reason)
        for which, reason in ((wrong, "unparsable row"), (late, "time out of range"))
    )
    good = parsed.filter(~wrong & ~late).with_columns(time=(pl.col("moment") * 1e6).cast(pl.Int64))
    good = good.sort("user", "time", "item", "row")
    good = good.with_columns(_as_of(good)).join(_named(users, "user"), on="user", how="left", maintain_order="left")
    good = good.join(_named(items, "item"), on="item", how="left", maintain_order="left")
    histories = _Histories(good)
    facts = [name for name in good.columns if name.startswith("feature.")]
    rows = selected(
        good,
        {
            "request": "row",
            "candidate": "item",
            "user": "user",
            "time": "time",
            "label.like": (pl.col("stars") >= POSITIVE).cast(pl.Float32),
            "feature.item": "item",
            "feature.user": "user",
            **{name: name for name in facts},
        },
    )
    for start in range(0, max(rows.height, 1), CHUNK_ROWS):
        table = canonical(rows.slice(start, CHUNK_ROWS))
        for name, lists in histories.of(start, start + table.num_rows).items():
            table = table.append_column(name, lists)
        yield Chunk(table, bad if start == 0 else nothing_rejected())


class _Histories:
    """Each row's history as a window of the user's rows, of rows sorted by user and time."""

    def __init__(self, rows: pl.DataFrame) -> None:
        user, time = (rows[name].rle_id().to_numpy().astype(np.int64) for name in ("user", "time"))
        place = np.arange(rows.height)
        new_user = np.flatnonzero(np.diff(user, prepend=-1))
        new_moment = np.flatnonzero(np.diff(user, prepend=-1).astype(bool) | np.diff(time, prepend=-1).astype(bool))
        self._end = new_moment[np.searchsorted(new_moment, place, side="right") - 1]  # first rating of the same second
        first = new_user[np.searchsorted(new_user, place, side="right") - 1]
        self._start = np.maximum(first, self._end - HISTORY_LENGTH)
        stars = (rows["stars"] * 2).round().cast(pl.Int64)  # halves of a star as ids
        self._columns = {
            "feature.history_item": canonical(rows.select("item")).column(0).combine_chunks(),
            "feature.history_rating": canonical(stars.to_frame()).column(0).combine_chunks(),
        }

    def of(self, start: int, stop: int) -> dict[str, pa.Array]:
        """Histories of rows [start, stop) as list arrays."""
        begin, end = self._start[start:stop], self._end[start:stop]
        offsets = np.concatenate([[0], np.cumsum(end - begin)])
        taken = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], end - begin)
        return {
            name: pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(taken)))
            for name, values in self._columns.items()
        }


def _as_of(rows: pl.DataFrame) -> list[pl.Series]:
    """Number of ratings, and log odds of a like, of the item and by the user, strictly before; an item's mean stars.

    Odds in logarithms because rates of items lie close together: beside a logarithm of counts a model learns nothing
    of a spread of 0.1.
    """
    times, stars = rows["time"].to_numpy(), rows["stars"].to_numpy()
    liked = stars >= POSITIVE
    columns: dict[str, np.ndarray] = {}
    for key in ("item", "user"):
        things = rows[key].rank("dense").cast(pl.Int64).to_numpy()
        ratings = EventCounts(things, times).before(things, times)
        likes = EventCounts(things[liked], times[liked]).before(things, times)
        columns[f"{key}_ratings"] = ratings
        columns[f"{key}_like_odds"] = np.log((likes + 2) / (ratings - likes + 2))  # smoothed: 0 where nothing is known
        if key == "item":
            halves = [
                EventCounts(things[stars >= half / 2], times[stars >= half / 2]).before(things, times)
                for half in range(1, 11)
            ]
            # as if it had a few middling ratings more: 0 where nothing is known
            columns["item_stars"] = (sum(halves) / 2 - MIDDLING * ratings) / (ratings + 3)
    return [pl.Series(f"feature.{name}", values.astype(np.float32)) for name, values in columns.items()]


def _named(facts: pl.DataFrame, key: str) -> pl.DataFrame:
    """Facts as features, one row per key, the key typed as in the ratings."""
    typed = integers_where_all_are(facts, [key]).unique(key, keep="first", maintain_order=True)
    return typed.rename({name: f"feature.{key}_{name}" for name in facts.columns if name != key})


def _recbole(file: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    ratings = _recbole_columns(
        file, {"user_id": "user", "item_id": "item", "rating": "rating", "timestamp": "time"}, needed=True
    )
    users = _recbole_columns(
        file.with_suffix(".user"),
        {"user_id": "user", "age": "age", "gender": "gender", "occupation": "occupation", "zip_code": "zip_code"},
    )
    items = _recbole_columns(
        file.with_suffix(".item"), {"item_id": "item", "release_year": "year", "class": "genres", "genre": "genres"}
    )
    if "genres" in items.columns:
        items = items.with_columns(pl.col("genres").str.split(" "))
    return ratings, _typed(users), _typed(items)


def _recbole_columns(file: Path, wanted: dict[str, str], *, needed: bool = False) -> pl.DataFrame:
    """Columns of a file whose first line reads `name:type`, under our names."""
    if not file.exists():
        return pl.DataFrame(schema={next(iter(wanted.values())): pl.String})
    read = read_separated(file, "\t")
    names = {column.partition(":")[0]: column for column in read.columns}
    missing = [name for name in wanted if name not in names]
    if needed and missing:
        raise InputError(f"{file} has no column {missing[0]!r}", got=", ".join(names), expected=", ".join(wanted))
    return read.select(pl.col(names[name]).alias(ours) for name, ours in wanted.items() if name in names)


def _grouplens_100k(file: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    users, items = pl.DataFrame(schema={"user": pl.String}), pl.DataFrame(schema={"item": pl.String})
    if (file.parent / "u.user").exists():
        users = read_separated(file.parent / "u.user", "|", ["user", "age", "gender", "occupation", "zip_code"])
    if (file.parent / "u.item").exists():
        head = ["item", "title", "released", "video", "url"]
        read = read_separated(file.parent / "u.item", "|", [*head, *_GENRES])
        genres = pl.concat_list(pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in _GENRES).list.drop_nulls()
        items = read.select("item", year=pl.col("released").str.tail(4), genres=genres)
    return read_separated(file, "\t", _RATING), _typed(users), _typed(items)


def _grouplens_1m(file: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    users, items = pl.DataFrame(schema={"user": pl.String}), pl.DataFrame(schema={"item": pl.String})
    if (file.parent / "users.dat").exists():
        users = read_separated(file.parent / "users.dat", "::", ["user", "gender", "age", "occupation", "zip_code"])
    if (file.parent / "movies.dat").exists():
        read = read_separated(file.parent / "movies.dat", "::", ["item", "title", "genres"])
        items = read.select(
            "item",
            year=pl.col("title").str.extract(r"\((\d{4})\)\s*$"),
            genres=pl.col("genres").str.split("|"),
        )
    return read_separated(file, "::", _RATING), _typed(users), _typed(items)


def _typed(facts: pl.DataFrame) -> pl.DataFrame:
    """Years as floats (null where they are no number), other facts as integers where all are."""
    if "year" in facts.columns:
        facts = facts.with_columns(pl.col("year").cast(pl.Float32, strict=False))
    return integers_where_all_are(facts, [name for name in ("age", "occupation") if name in facts.columns])


LAYOUTS = (
    Layout("*.inter", _recbole),
    Layout("u.data", _grouplens_100k),
    Layout("ratings.dat", _grouplens_1m),
)
