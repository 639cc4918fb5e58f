"""Known data sets: small files of every layout, and the real ones where they are."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from recfold.logs import LogSource, open_logs
from recfold.spec import InputError


def rows_of(source: LogSource) -> pa.Table:
    return pa.concat_tables([chunk.rows for chunk in source.impressions()])


def rejected_of(source: LogSource) -> list[dict[str, Any]]:
    return pa.concat_tables([chunk.rejected for chunk in source.impressions()]).to_pylist()


def by_candidate(source: LogSource) -> dict[tuple[Any, Any], dict[str, Any]]:
    return {(row["user"], row["candidate"]): row for row in rows_of(source).to_pylist()}


def recbole(folder: Path) -> None:
    (folder / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t10\t5\t100\n1\t11\t3\t200\n1\t12\t4\t200\n1\t13\t2\t300\n2\t10\t1\t150\n"
    )
    (folder / "x.user").write_text("user_id:token\tage:token\tgender:token\n1\t24\tM\n2\t53\tF\n")
    (folder / "x.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "10\tToy Story\t1995\tAnimation Comedy\n11\tWhen\tV\t\n"
    )


def grouplens_100k(folder: Path) -> None:
    (folder / "u.data").write_text("1\t10\t5\t100\n1\t11\t3\t200\n1\t12\t4\t200\n1\t13\t2\t300\n2\t10\t1\t150\n")
    (folder / "u.user").write_text("1|24|M|writer|85711\n2|53|F|other|94043\n")
    genres = ["0"] * 19
    genres[3] = genres[5] = "1"
    (folder / "u.item").write_text(f"10|Toy Story (1995)|01-Jan-1995||url|{'|'.join(genres)}\n", encoding="latin-1")


def grouplens_1m(folder: Path) -> None:
    (folder / "ratings.dat").write_text("1::10::5::100\n1::11::3::200\n1::12::4::200\n1::13::2::300\n2::10::1::150\n")
    (folder / "users.dat").write_text("1::M::24::10::48067\n2::F::53::16::70072\n")
    (folder / "movies.dat").write_text("10::Toy Story (1995)::Animation|Comedy\n", encoding="latin-1")


@pytest.mark.parametrize("write", [recbole, grouplens_100k, grouplens_1m])
def test_movielens_layouts_agree(tmp_path: Path, write: Any) -> None:
    write(tmp_path)
    source = open_logs(tmp_path, adapter="movielens")
    rows = by_candidate(source)
    assert {key: row["label.like"] for key, row in rows.items()} == {
        (1, 10): 1.0,
        (1, 11): 0.0,
        (1, 12): 1.0,
        (1, 13): 0.0,
        (2, 10): 0.0,
    }
    assert rows[1, 13]["time"] == 300_000_000
    assert rows[1, 10]["feature.item_year"] == 1995.0
    assert rows[1, 10]["feature.item_genres"] == ["Animation", "Comedy"]
    assert rows[1, 13]["feature.item_genres"] is None
    assert rows[2, 10]["feature.user_age"] == 53
    assert {name: row["feature.item_ratings"] for name, row in rows.items() if name[1] == 10} == {
        (1, 10): 0,
        (2, 10): 1,
    }


def test_a_history_holds_what_is_strictly_earlier(tmp_path: Path) -> None:
    recbole(tmp_path)
    rows = by_candidate(open_logs(tmp_path, adapter="movielens"))
    assert {key: row["feature.history_item"] for key, row in rows.items()} == {
        (1, 10): [],
        (1, 11): [10],
        (1, 12): [10],  # 11 was rated in the same second
        (1, 13): [10, 11, 12],
        (2, 10): [],
    }
    assert rows[1, 13]["feature.history_rating"] == [10, 6, 8]


def test_movielens_rows_that_are_no_ratings_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t10\t5\t100\n1\t11\tfive\t200\n1\t12\n")
    source = open_logs(tmp_path, adapter="movielens")
    assert rows_of(source).num_rows == 1
    assert [(row["row"], row["reason"]) for row in rejected_of(source)] == [
        (1, "unparsable row"),
        (2, "unparsable row"),
    ]


def write_mind(folder: Path) -> None:
    (folder / "behaviors.tsv").write_text(
        "7\tU1\t11/12/2019 2:14:46 PM\tN1 N2\tN3-1 N4-0 N3-0\n"
        "8\tU2\t11/12/2019 2:14:47 PM\t\tN3-0\n"
        "9\tU3\tyesterday\tN1\tN3-0\n"
        "10\tU3\t11/12/2019 2:14:48 AM\tN1\tN3-2\n"
    )
    (folder / "news.tsv").write_text("N3\tsports\tgolf\ttitle\n")


def test_mind_keeps_a_candidate_that_stands_twice(tmp_path: Path) -> None:
    write_mind(tmp_path)
    source = open_logs(tmp_path, adapter="mind")
    rows = rows_of(source).to_pylist()
    assert [(r["request"], r["candidate"], r["position"], r["label.click"]) for r in rows] == [
        (7, "N3", 0, 1.0),
        (7, "N4", 1, 0.0),
        (7, "N3", 2, 0.0),
        (8, "N3", 0, 0.0),
    ]
    assert rows[0]["time"] == 1573568086_000_000
    assert [row["feature.history"] for row in rows] == [["N1", "N2"]] * 3 + [[]]
    assert [row["feature.category"] for row in rows] == ["sports", None, "sports", "sports"]
    assert [(row["feature.views"], row["feature.clicks"]) for row in rows] == [(0, 0), (0, 0), (0, 0), (2, 1)]
    assert [(row["row"], row["reason"]) for row in rejected_of(source)] == [
        (2, "unparsable time"),
        (3, "unparsable row"),
    ]


def write_ebnerd(folder: Path) -> None:
    (folder / "train").mkdir()
    pl.DataFrame(
        {
            "impression_id": [1, 2],
            "impression_time": [1_000_000, 61_000_000],
            "article_ids_inview": [[5, 6], [5]],
            "article_ids_clicked": [[6, 6], [5]],
            "user_id": [3, 3],
            "session_id": [4, 4],
            "article_id": [None, 9],
            **{name: [1, 0] for name in ("device_type", "gender", "postcode", "age")},
            "is_sso_user": [True, False],
            "is_subscriber": [False, None],
            "read_time": [1.0, 2.0],
        },
        schema_overrides={"article_id": pl.Int32},
    ).with_columns(pl.col("impression_time").cast(pl.Datetime("us"))).write_parquet(folder / "train/behaviors.parquet")
    pl.DataFrame(
        {
            "user_id": [3],
            "article_id_fixed": [[7, 8]],
            "read_time_fixed": [[1.5, None]],
            "scroll_percentage_fixed": [[None, 100.0]],
        }
    ).write_parquet(folder / "train/history.parquet")


def test_ebnerd_explodes_candidates_and_keeps_a_history_once(tmp_path: Path) -> None:
    write_ebnerd(tmp_path)
    source = open_logs(tmp_path, adapter="ebnerd")
    rows = rows_of(source).to_pylist()
    assert [(r["request"], r["candidate"], r["position"], r["time"]) for r in rows] == [
        (1, 5, 0, 1_000_000),
        (1, 6, 1, 1_000_000),
        (2, 5, 0, 61_000_000),
    ]
    assert [(r["feature.views"], r["feature.clicks"], r["feature.minutes_in_view"]) for r in rows] == [
        (0, 0, 0),
        (0, 0, 0),
        (1, 0, 1),
    ]
    assert source.outcomes is not None
    outcomes = pa.concat_tables([chunk.rows for chunk in source.outcomes()]).to_pylist()
    assert [(row["request"], row["candidate"]) for row in outcomes] == [(1, 6), (1, 6), (2, 5)]
    histories = pa.concat_tables([chunk.rows for chunk in source.sides["history"]()]).to_pylist()
    assert histories == [
        {
            "key": 3,
            "split": "train",
            "feature.history_article": [7, 8],
            "feature.history_read_time": [1.5, None],
            "feature.history_scroll": [None, 100.0],
        }
    ]


def test_ebnerd_candidates_that_are_null_are_rejected(tmp_path: Path) -> None:
    write_ebnerd(tmp_path)
    path = tmp_path / "train/behaviors.parquet"
    pl.read_parquet(path).with_columns(
        article_ids_inview=pl.Series([[5, None], []], dtype=pl.List(pl.Int64)),
        article_ids_clicked=pl.Series([[None], None], dtype=pl.List(pl.Int64)),
    ).write_parquet(path)
    source = open_logs(tmp_path, adapter="ebnerd")
    assert rows_of(source)["candidate"].to_pylist() == [5]
    assert [row["reason"] for row in rejected_of(source)] == ["null candidate"]
    assert source.outcomes is not None
    chunks = list(source.outcomes())
    assert sum(chunk.rows.num_rows for chunk in chunks) == 0
    assert [row["reason"] for chunk in chunks for row in chunk.rejected.to_pylist()] == ["null candidate"]


def test_what_is_known_after_an_impression_is_no_feature(tmp_path: Path) -> None:
    write_ebnerd(tmp_path)
    source = open_logs(tmp_path, adapter="ebnerd")
    names = set(source.schema.features) | set(rows_of(source).column_names)
    assert not {name for name in names if "read_time" in name and "history" not in name}
    assert not {name for name in names if "next" in name or "inview_length" in name}


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("ebnerd", "is not EB-NeRD; expected train/behaviors.parquet"),
        ("mind", "is not MIND; expected behaviors.tsv"),
        ("movielens", r"is not MovieLens; expected one of \*.inter, u.data, ratings.dat"),
        ("mindd", "unknown adapter 'mindd'; expected one of ebnerd, mind, movielens; did you mean 'mind'?"),
    ],
)
def test_a_folder_of_something_else_is_one_clear_line(tmp_path: Path, adapter: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_logs(tmp_path, adapter=adapter)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_ebnerd(tmp_path)
    (tmp_path / "train/behaviors.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"cannot read .*behaviors\.parquet"):
        rows_of(open_logs(tmp_path, adapter="ebnerd"))
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(InputError, match=r"x\.inter has no column 'rating'"):
        open_logs(tmp_path, adapter="movielens")


@pytest.mark.parametrize(
    ("adapter", "folder", "samples"),
    [("ebnerd", "ebnerd_demo", 583_054), ("mind", "mind_5k", 189_359), ("movielens", "ml-100k", 100_000)],
)
def test_real_logs_are_read_whole(real_logs: Path, adapter: str, folder: str, samples: int) -> None:
    source = open_logs(real_logs / folder, adapter=adapter)
    chunks = list(source.impressions())
    assert sum(chunk.rows.num_rows for chunk in chunks) == samples
    assert sum(chunk.rejected.num_rows for chunk in chunks) == 0
    columns = {name.removeprefix("feature.") for name in chunks[0].rows.column_names if name.startswith("feature.")}
    assert columns == {name for name, feature in source.schema.features.items() if feature.side is None}


def test_real_histories_do_not_leak(real_logs: Path) -> None:
    rows = rows_of(open_logs(real_logs / "ml-100k", adapter="movielens"))
    rated: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for user, item, time in zip(*(rows[name].to_pylist() for name in ("user", "candidate", "time")), strict=True):
        rated[user].append((time, item))
    for row in rows.slice(0, 3000).to_pylist():
        earlier = {item for time, item in rated[row["user"]] if time < row["time"]}
        assert set(row["feature.history_item"]) <= earlier
        assert len(row["feature.history_item"]) == min(len(earlier), 50)


def test_times_out_of_range_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t10\t5\t100\n1\t11\t5\t1e300\n1\t12\t5\t-1\n")
    source = open_logs(tmp_path, adapter="movielens")
    assert rows_of(source)["candidate"].to_pylist() == [10]
    assert [(row["row"], row["reason"]) for row in rejected_of(source)] == [
        (1, "time out of range"),
        (2, "time out of range"),
    ]
    (tmp_path / "behaviors.tsv").write_text(
        "7\tU1\t11/12/0019 2:14:46 PM\tN1\tN3-1\n8\tU1\t11/12/2019 2:14:46 PM\tN1\tN3-1\n"
    )
    source = open_logs(tmp_path, adapter="mind")
    assert rows_of(source)["request"].to_pylist() == [8]
    assert [row["reason"] for row in rejected_of(source)] == ["time out of range"]
