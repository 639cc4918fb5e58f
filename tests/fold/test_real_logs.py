"""Real logs: what a fold of them expands to is what the adapters read, value for value."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recfold.fold import fold
from recfold.logs import Chunk, LogSource, open_logs
from recfold.table import Accounting, FoldedTable

FOLDERS = {"ebnerd": "ebnerd_demo", "mind": "mind_5k", "movielens": "ml-100k"}
KEY = ["request", "candidate"]


def folded(real_logs: Path, name: str, out: Path) -> tuple[LogSource, FoldedTable]:
    source = open_logs(real_logs / FOLDERS[name], adapter=name)
    return source, fold(source, out / "table")


def check_rows(source: LogSource, table: FoldedTable) -> pa.Table:
    """Every canonical row comes out once with every value it had; the expanded keys and labels, sorted by key."""
    sides = {f"feature.{name}" for name, feature in table.schema.features.items() if feature.side is not None}
    expanded = pa.concat_tables(
        [rows.select([name for name in rows.column_names if name.removesuffix(".weights") not in sides])
         for rows in table.expand()]
    )  # fmt: skip
    logged = by_key(pa.concat_tables([chunk.rows for chunk in source.impressions()]))
    expanded = by_key(expanded)
    assert expanded.num_rows == logged.num_rows == samples_of(table)
    for name in logged.column_names:
        here, there = expanded[name].combine_chunks(), logged[name].combine_chunks()
        assert here.equals(there.cast(here.type)), name
    return expanded.select([name for name in expanded.column_names if not name.startswith("feature.")])


def samples_of(table: FoldedTable) -> int:
    return sum(table.manifest.accounting.samples.values())


def by_key(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in KEY]).combine_chunks()


@pytest.fixture(scope="module")
def movielens(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LogSource, FoldedTable]:
    return folded(real_logs, "movielens", tmp_path_factory.mktemp("movielens"))


def test_movielens_comes_back_value_for_value(movielens: tuple[LogSource, FoldedTable]) -> None:
    source, table = movielens
    assert samples_of(table) == 100_000
    check_rows(source, table)
    assert table.manifest.accounting.quarantined_candidates == {}


def test_histories_of_movielens_are_stored_once_per_rating(movielens: tuple[LogSource, FoldedTable]) -> None:
    _, table = movielens
    for split, stats in table.manifest.features["history_item"].items():
        entry = table.manifest.splits[split]
        assert stats.values <= entry.samples + 50 * entry.units  # a history of 50 when a visit begins, then one each
        assert stats.expanded_values > 15 * stats.values


def test_mind_comes_back_value_for_value(real_logs: Path, tmp_path: Path) -> None:
    source, table = folded(real_logs, "mind", tmp_path)
    assert samples_of(table) == 189_359
    check_rows(source, table)
    assert table.manifest.accounting.quarantined_candidates == {}
    table.verify()


@pytest.fixture(scope="module")
def ebnerd(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LogSource, FoldedTable]:
    return folded(real_logs, "ebnerd", tmp_path_factory.mktemp("ebnerd"))


def test_ebnerd_comes_back_value_for_value_with_its_clicks(ebnerd: tuple[LogSource, FoldedTable]) -> None:
    source, table = ebnerd
    rows = check_rows(source, table)
    assert source.outcomes is not None
    clicks = pa.concat_tables([chunk.rows for chunk in source.outcomes()]).select(KEY)
    clicked = by_key(rows.filter(pc.equal(rows["label.click"], 1.0))).select(KEY)
    assert clicked.equals(by_key(clicks.group_by(KEY).aggregate([])).select(KEY).cast(clicked.schema))


def test_histories_of_ebnerd_are_those_of_the_user_and_split(ebnerd: tuple[LogSource, FoldedTable]) -> None:
    source, table = ebnerd
    (name,) = source.sides
    side = pa.concat_tables([chunk.rows for chunk in source.sides[name]()]).combine_chunks()
    columns = [column for column in side.column_names if column.startswith("feature.")]
    number = {key: row for row, key in enumerate(zip(*(side[k].to_pylist() for k in ("key", "split")), strict=True))}
    for rows in table.expand():
        keys = zip(rows["user"].to_pylist(), rows["split"].to_pylist(), strict=True)
        wanted = np.array([number[key] for key in keys])
        some = np.arange(0, len(wanted), 16)
        for column in columns:
            here, there = rows[column].combine_chunks(), side[column].combine_chunks()
            assert pc.list_value_length(here).equals(pc.list_value_length(there).take(pa.array(wanted))), column
            assert here.take(pa.array(some)).equals(there.take(pa.array(wanted[some])).cast(here.type)), column


def test_accounting_of_ebnerd(ebnerd: tuple[LogSource, FoldedTable]) -> None:
    _, table = ebnerd
    assert table.manifest.accounting == Accounting(
        candidate_rows_in=583_054,
        samples={"train": 278_139, "validation": 304_915},
        outcomes_in=50_393,
        joined=50_273,
        quarantined_outcomes={"duplicate outcome": 120},
    )
    units = {split: entry.units for split, entry in table.manifest.splits.items()}
    assert units == {"train": 12_944, "validation": 12_985}  # 25,929 pairs of split and session


def test_every_session_of_ebnerd_is_one_row(ebnerd: tuple[LogSource, FoldedTable]) -> None:
    source, table = ebnerd
    logged = pa.concat_tables([drop_features(chunk) for chunk in source.impressions()])
    counts = logged.group_by(["split", "session"]).aggregate([("request", "count")])
    expected = sorted(zip(*(counts[name].to_pylist() for name in ("split", "session", "request_count")), strict=True))
    found = [
        (split, session, n)
        for split in table.splits()
        for part in table.parts(split)
        for index in range(part.num_row_groups)
        for session, n in zip(*(part.row_group(index)[name].to_pylist() for name in ("session", "n")), strict=True)
    ]
    assert sorted(found) == expected


def drop_features(chunk: Chunk) -> pa.Table:
    return chunk.rows.select(["split", "session", "request"])
