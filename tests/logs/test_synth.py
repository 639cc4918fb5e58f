"""Synthetic logs: repeats as planted, the same bytes for the same arguments, and a best AUC that is right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.logs import WORKLOADS, open_logs, synth
from recfold.logs.synth import files, generator, sessions
from recfold.logs.synth.draws import (
    list_ranks,
    list_ranks_reference,
    normal,
    poisson_lengths,
    stream,
    zipf,
    zipf_probabilities,
)
from recfold.logs.synth.lists import draw_source
from recfold.logs.synth.sessions import arrivals
from recfold.logs.synth.truth import BayesAuc, bayes_auc_reference, clicks, plant
from recfold.spec import InputError, load_schema

SAMPLES = 12_000
USER_GROUPS = {f"user_{letter}": [f"user_{5 * g + f:02d}" for f in range(5)] for g, letter in enumerate("abcd")}


def impressions(folder: Path, columns: list[str] | None = None) -> pa.Table:
    return pa.concat_tables(
        [pq.read_table(path, columns=columns) for path in sorted((folder / "impressions").iterdir())]
    )


def outcomes(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((folder / "outcomes").iterdir())])


def neighbours(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of a sample and of the next one of its session, for all such pairs."""
    session, time = table["session_id"].to_numpy(), table["timestamp"].to_numpy()
    order = np.lexsort((time, session))
    same = session[order][1:] == session[order][:-1]
    return order[:-1][same], order[1:][same]


def changed(table: pa.Table, column: str) -> np.ndarray:
    """For each pair of neighbours, whether the list is another one."""
    lists = [tuple(row) for row in table[column].to_pylist()]
    return np.array([lists[a] != lists[b] for a, b in zip(*neighbours(table), strict=True)])


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("synth") / "pooled", samples=SAMPLES, seed=3).path


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("synth") / "sequence", workload="sequence", samples=4000, seed=3).path


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("synth") / "catalog", workload="catalog", samples=4000, seed=3).path


@pytest.fixture(scope="module")
def multihot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("synth") / "multihot", workload="multihot", samples=2000, seed=3).path


def test_groups_change_as_often_as_planted(pooled: Path) -> None:
    table = impressions(pooled)
    for names, planted in zip(USER_GROUPS.values(), WORKLOADS["pooled"].change, strict=True):
        fresh = [changed(table, name) for name in names]
        tolerance = 5 * np.sqrt(planted * (1 - planted) / len(fresh[0]))
        assert abs(fresh[0].mean() - planted) < tolerance
        assert all((fresh[0] == other).all() for other in fresh[1:]), "the lists of a group change together"


def test_rows_arrive_in_order_with_one_row_a_request(pooled: Path) -> None:
    table = impressions(pooled)
    assert table.num_rows == SAMPLES
    assert (np.diff(table["timestamp"].to_numpy()) >= 0).all()
    assert len(np.unique(table["request_id"].to_numpy())) == SAMPLES
    users = table.select(["session_id", "user_id"]).group_by("session_id").aggregate([("user_id", "count_distinct")])
    assert set(users["user_id_count_distinct"].to_pylist()) == {1}
    assert len(np.unique(table["user_id"].to_numpy())) < users.num_rows, "some users have several sessions"


def test_outcomes_are_the_clicks_a_little_later(pooled: Path) -> None:
    shown = {
        row["request_id"]: row for row in impressions(pooled, ["request_id", "candidate_id", "timestamp"]).to_pylist()
    }
    rows = outcomes(pooled).to_pylist()
    assert len(rows) == json.loads((pooled / "synth.json").read_text())["positives"]
    assert len({row["request_id"] for row in rows}) == len(rows)
    for row in rows:
        impression = shown[row["request_id"]]
        assert row["candidate_id"] == impression["candidate_id"]
        assert row["event"] == "click"
        assert 1_000_000 <= row["timestamp"] - impression["timestamp"] < 3_600_000_000


def test_lists_are_as_long_as_said(pooled: Path) -> None:
    table = impressions(pooled, ["user_00", "item_0", "dense_00"])
    user = np.diff(table["user_00"].combine_chunks().offsets.to_numpy())
    item = np.diff(table["item_0"].combine_chunks().offsets.to_numpy())
    assert abs(user.mean() - 20) < 0.5
    assert set(item) == {1, 2, 3}
    assert table["dense_00"].type == pa.float32()


def test_windows_move_on_by_one_item_and_action(sequence: Path) -> None:
    table = impressions(sequence)
    before, after = neighbours(table)
    for window in ("history_a", "history_b"):
        items = np.array(table[f"{window}_item"].to_pylist())
        actions = np.array(table[f"{window}_action"].to_pylist())
        assert items.shape == actions.shape == (4000, 100)
        still = (items[before] == items[after]).all(1) & (actions[before] == actions[after]).all(1)
        moved = (items[before][:, 1:] == items[after][:, :-1]).all(1)
        moved &= (actions[before][:, 1:] == actions[after][:, :-1]).all(1)
        assert (still | moved).all()
        assert 0.03 < 1 - still.mean() < 0.07
    assert len(np.unique(actions)) == 32
    known = set(np.unique(np.array(table["history_a_item"].to_pylist())))
    assert known & set(np.unique(items)), "both windows hold items of one catalogue"


def test_a_catalog_item_is_the_same_wherever_it_is_shown(catalog: Path) -> None:
    names = ["candidate_id", "item_content", *(f"item_{f}" for f in range(6))]
    table = impressions(catalog, names)
    items, first, inverse = np.unique(table["candidate_id"].to_numpy(), return_index=True, return_inverse=True)
    for name in names[1:]:
        column = table[name].combine_chunks()
        assert column == column.take(pa.array(first)).take(pa.array(inverse)), name
    content = np.array(table["item_content"].to_pylist())[first]
    assert content.shape == (len(items), 256)
    assert abs(content.mean()) < 0.02
    assert abs(content.std() - 1) < 0.02
    lengths = np.diff(table["item_3"].combine_chunks().take(pa.array(first)).offsets.to_numpy())
    assert abs(lengths.mean() - 20) < 1


def test_catalog_items_are_shown_by_zipfs_law(catalog: Path) -> None:
    counts = np.unique(impressions(catalog, ["candidate_id"])["candidate_id"].to_numpy(), return_counts=True)[1]
    assert 500 < len(counts) <= 2000
    law = zipf_probabilities(2000, 1.05)
    expected = 4000 * law[:20]
    found = np.sort(counts)[::-1][:20]
    assert (np.abs(found - expected) < 5 * np.sqrt(expected)).all()


def test_a_catalogs_users_are_those_of_pooled(catalog: Path) -> None:
    table = impressions(catalog)
    assert {*table.column_names} >= {"user_19", "dense_12"}
    for names, planted in zip(USER_GROUPS.values(), WORKLOADS["pooled"].change, strict=True):
        fresh = changed(table, names[0])
        assert abs(fresh.mean() - planted) < 5 * np.sqrt(planted * (1 - planted) / len(fresh))
    schema = load_schema(catalog / "features.toml")
    assert {name: list(schema.features_of(name)) for name in USER_GROUPS} == USER_GROUPS
    assert schema.groups["item"].kind == "dictionary"
    assert schema.groups["item"].key == "item"
    assert set(schema.features_of("item")) == {"item_content", *(f"item_{f}" for f in range(6))}
    assert schema.features["item_content"].width == 256


def test_fields_are_fifteen_ids_of_their_own_for_every_sample(multihot: Path) -> None:
    table = impressions(multihot)
    fields = [name for name in table.column_names if name.startswith("field_")]
    assert fields == [f"field_{f:02d}" for f in range(40)]
    assert set(table.column_names) == {*fields, *load_schema(multihot / "features.toml").keys.columns().values()}
    ids = {name: np.array(table[name].to_pylist()) for name in fields}
    assert {(column.shape, column.dtype) for column in ids.values()} == {((2000, 15), np.dtype(np.int64))}
    assert (table["candidate_id"].to_numpy() == ids["field_00"][:, 0]).all()
    before, after = neighbours(table)
    assert len(before) > 1000
    for number, column in enumerate(ids.values()):
        assert not (column[before] == column[after]).all(1).any()
        assert set(column.ravel() // 250_000) == {40 * (number + 1)}, "a range of raw ids for each field"


def test_ids_of_a_field_follow_zipfs_law(multihot: Path) -> None:
    ids = np.array(impressions(multihot, ["field_07"])["field_07"].to_pylist())
    expected = ids.size * zipf_probabilities(250_000, 1.05)[:20]
    counts = np.sort(np.unique(ids, return_counts=True)[1])[::-1][:20]
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_skew_zero_gives_every_id_of_a_field_the_same_chance(tmp_path: Path) -> None:
    folder = synth(tmp_path / "logs", workload="multihot", samples=1000, skew=0.0).path
    ids = np.array(impressions(folder, ["field_39"])["field_39"].to_pylist())
    assert np.unique(ids, return_counts=True)[1].max() <= 5
    assert abs(len(np.unique(ids)) - 250_000 * -np.expm1(-15_000 / 250_000)) < 150


def test_a_table_of_eight_columns_for_each_field(multihot: Path) -> None:
    schema = load_schema(multihot / "features.toml")
    tables = schema.resolved_tables()
    assert list(schema.groups) == []
    assert list(schema.features_of("sample")) == list(tables) == [f"field_{f:02d}" for f in range(40)]
    assert {(table.rows, table.dim) for table in tables.values()} == {(250_000, 8)}


def test_schema_declares_what_is_planted(pooled: Path, sequence: Path) -> None:
    schema = load_schema(pooled / "features.toml")
    assert {name: list(schema.features_of(name)) for name in schema.groups} == USER_GROUPS
    assert set(impressions(pooled).column_names) == {*schema.features, *schema.keys.columns().values()}
    tables = schema.resolved_tables()
    assert {(table.rows, table.dim) for table in tables.values()} == {(200_000, 64)}
    assert len(tables) == 26
    schema = load_schema(sequence / "features.toml")
    assert schema.groups["history_a"].kind == "window"
    assert schema.table_features()["history_item"] == ("history_a_item", "history_b_item")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_logs_are_clean(pooled: Path, catalog: Path, sequence: Path, multihot: Path, workload: str) -> None:
    folder = {"pooled": pooled, "catalog": catalog, "sequence": sequence, "multihot": multihot}[workload]
    source = open_logs(folder)
    assert source.outcomes is not None
    facts = json.loads((folder / "synth.json").read_text())
    chunks = list(source.impressions())
    assert sum(chunk.rows.num_rows for chunk in chunks) == facts["samples"]
    found = list(source.outcomes())
    assert sum(chunk.rows.num_rows for chunk in found) == facts["positives"]
    assert sum(chunk.rejected.num_rows for chunk in (*chunks, *found)) == 0


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_same_arguments_give_the_same_rows_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workload: str
) -> None:
    first = synth(tmp_path / "first", workload=workload, samples=700, seed=5)
    again = synth(tmp_path / "again", workload=workload, samples=700, seed=5)
    for path in sorted(first.path.rglob("*.*")):
        assert path.read_bytes() == (again.path / path.relative_to(first.path)).read_bytes()
    monkeypatch.setattr(generator, "PART_SAMPLES", 300)
    monkeypatch.setattr(files, "ROW_GROUP_SAMPLES", 70)
    cut = synth(tmp_path / "cut", workload=workload, samples=700, seed=5)
    assert len(list((cut.path / "impressions").iterdir())) == 3
    assert impressions(cut.path).combine_chunks() == impressions(first.path).combine_chunks()
    assert set(outcomes(cut.path)["request_id"].to_pylist()) == set(outcomes(first.path)["request_id"].to_pylist())
    assert (cut.path / "synth.json").read_bytes() == (first.path / "synth.json").read_bytes()


def test_another_seed_gives_another_log(tmp_path: Path, pooled: Path) -> None:
    other = synth(tmp_path / "other", samples=500, seed=4).path
    assert impressions(other)["user_00"].to_pylist() != impressions(pooled)["user_00"].slice(0, 500).to_pylist()


@pytest.mark.parametrize(("repeat", "fraction"), [(1.0, 0.0), (0.0, 1.0)])
def test_repeat_overrides_the_change_of_every_group(tmp_path: Path, repeat: float, fraction: float) -> None:
    table = impressions(synth(tmp_path / "logs", workload="sequence", samples=600, repeat=repeat).path)
    for column in ("user_00", "user_19", "history_a_item", "history_b_item"):
        assert changed(table, column).mean() == fraction


def test_change_says_how_many_groups_there_are(tmp_path: Path) -> None:
    folder = synth(tmp_path / "logs", samples=3000, change=(0.05,)).path
    schema = load_schema(folder / "features.toml")
    assert list(schema.groups) == ["user_a"]
    assert len(schema.features_of("user_a")) == 20
    table = impressions(folder)
    assert (changed(table, "user_00") == changed(table, "user_19")).all()
    assert 0.03 < changed(table, "user_00").mean() < 0.07


def test_session_sizes_have_the_mean_that_is_said() -> None:
    (samples,) = arrivals(300_000, 0, (0.5,), (), 300_000)
    sizes = np.unique(samples.session, return_counts=True)[1]
    assert sizes.max() == 512
    assert abs(sizes.mean() - 16.5) < 1.0  # five standard errors of about 18,000 sessions
    starts = np.full(len(sizes), np.iinfo(np.int64).max)
    np.minimum.at(starts, samples.session, samples.time)
    assert abs((starts.max() - starts.min()) / 60e6 - len(sizes) / 1000) < 0.1


def test_several_blocks_of_sessions_arrive_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "BLOCK_SESSIONS", 40)
    parts = list(arrivals(3000, 1, (0.1, 0.2), (0.5,), 256))
    assert [len(part) for part in parts] == [256] * 11 + [184]
    assert (np.diff(np.concatenate([part.time for part in parts])) >= 0).all()
    assert sorted(np.concatenate([part.number for part in parts])) == list(range(3000))


def test_lists_equal_the_slow_twin_in_any_company() -> None:
    law, name = zipf(50, 1.05), stream(7, 1)
    keys, lengths = np.array([5, -3, 11, 2**62]), np.array([4, 0, 1, 30])
    together = np.split(list_ranks(name, keys, lengths, law), np.cumsum(lengths)[:-1])
    for key, length, ranks in zip(keys, lengths, together, strict=True):
        assert ranks.tolist() == list_ranks_reference(name, int(key), int(length), law)
        assert ranks.tolist() == list_ranks(name, np.array([key]), np.array([length]), law).tolist()


@pytest.mark.parametrize("skew", [0.0, 1.05, 3.0])
def test_alias_table_holds_the_zipf_probabilities(skew: float) -> None:
    law = zipf(1000, skew)
    keep = law.threshold.astype(np.float64) / 2.0**32
    held = (keep + np.bincount(law.alias, weights=1 - keep, minlength=1000)) / 1000
    np.testing.assert_allclose(held, zipf_probabilities(1000, skew), atol=1e-9)


def test_draws_have_the_moments_of_their_laws() -> None:
    keys = np.arange(100_000)
    lengths = poisson_lengths(stream(1, 2), keys, 20.0)
    assert abs(lengths.mean() - 20) < 0.1
    assert abs(lengths.var() - 20) < 0.5
    drawn = normal(stream(1, 3), keys, 3)
    assert drawn.shape == (100_000, 3)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.03)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.02)


def test_bayes_auc_equals_the_slow_twin() -> None:
    probability = np.random.default_rng(0).beta(2, 5, 400)
    auc = BayesAuc()
    auc.add(probability[:100])
    auc.add(probability[100:])
    assert auc.value() == pytest.approx(bayes_auc_reference(probability), abs=1e-4)
    same = BayesAuc()
    same.add(np.full(10, 0.3))
    assert same.value() == pytest.approx(0.5)
    assert np.isnan(BayesAuc().value())


@pytest.mark.parametrize("workload", WORKLOADS)
def test_true_probabilities_reach_the_bayes_auc_on_the_drawn_labels(workload: str) -> None:
    law = WORKLOADS[workload]
    source = draw_source(law, 11, 1.05)
    truth = plant(source)
    (samples,) = arrivals(20_000, 11, law.change, law.shift, 20_000)
    probability = truth.probability(source, samples)
    label = clicks(11, samples, probability)
    expected = BayesAuc()
    expected.add(probability)
    assert expected.value() == pytest.approx(0.80, abs=0.02)
    assert label.mean() == pytest.approx(0.25, abs=0.02)
    rank = np.argsort(np.argsort(probability)) + 1
    positives, negatives = label.sum(), (~label).sum()
    reached = (rank[label].sum() - positives * (positives + 1) / 2) / positives / negatives
    assert reached == pytest.approx(expected.value(), abs=0.012)
    assert np.isclose(sum(law.shares.values()), 1)


def test_the_dense_features_carry_signal_that_a_linear_model_finds(pooled: Path) -> None:
    table = impressions(pooled, ["request_id", *(f"dense_{n:02d}" for n in range(13))])
    label = np.isin(table["request_id"].to_numpy(), outcomes(pooled)["request_id"].to_numpy())
    dense = np.stack([table[f"dense_{n:02d}"].to_numpy() for n in range(13)], axis=1).astype(np.float64)
    weights = np.linalg.lstsq(dense[:10_000], label[:10_000] - 0.25, rcond=None)[0]
    score, held = dense[10_000:] @ weights, label[10_000:]
    assert (score[held][:, None] > score[~held][None, :]).mean() > 0.7


def test_frequent_ids_of_fields_carry_signal_that_a_linear_model_finds() -> None:
    source = draw_source(WORKLOADS["multihot"], 3, 1.05)
    (samples,) = arrivals(5000, 3, (), (), 5000)
    label = clicks(3, samples, plant(source).probability(source, samples))
    ids = np.stack([source.field(field, samples).ranks.reshape(5000, 15) for field in range(40)], axis=1)
    counts = np.concatenate([(ids == rank).sum(2) for rank in range(8)], axis=1) - 1.0
    weights = np.linalg.solve(
        counts[:4000].T @ counts[:4000] + 100 * np.eye(320), counts[:4000].T @ (label[:4000] - 0.25)
    )
    score, held = counts[4000:] @ weights, label[4000:]
    assert (score[held][:, None] > score[~held][None, :]).mean() > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"workload": "poled"},
            "unknown workload 'poled'; expected one of catalog, multihot, pooled, sequence; did you mean 'pooled'?",
        ),
        ({"samples": 0}, "samples must be positive; got 0"),
        ({"seed": -1}, "seed is out of range; got -1"),
        ({"skew": float("nan")}, "skew is out of range; got nan; expected 0 to 10"),
        ({"repeat": 1.5}, "repeat is not a probability; got 1.5; expected 0 to 1"),
        ({"change": (0.1, 2.0)}, "change is not a probability; got 2.0; expected 0 to 1"),
        ({"change": (0.1,) * 3}, "cannot be dealt to the groups evenly; got 3 probabilities; expected a divisor of 20"),
        (
            {"workload": "multihot", "repeat": 0.5},
            "every sample of workload multihot has lists of its own: nothing repeats; got repeat 0.5; leave it out",
        ),
        ({"workload": "multihot", "change": (0.1,)}, "nothing repeats; got change (0.1,); leave it out"),
        ({"change": (0.1,), "repeat": 0.5}, "both repeat and change are given; give one of them"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        synth(tmp_path / "logs", **arguments)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        synth(tmp_path, samples=10)
    with pytest.raises(InputError, match="cannot write to"):
        synth(tmp_path / "mine" / "logs", samples=10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_filled_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    (tmp_path / "logs").mkdir()
    result = synth(tmp_path / "logs", samples=1, progress=lambda *event: told.append(event))
    assert (result.samples, result.sessions, told) == (1, 1, [("samples written", 1, 1)])
    assert sorted(path.name for path in result.path.iterdir()) == [
        "features.toml",
        "impressions",
        "outcomes",
        "synth.json",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_nothing_is_left_behind_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(generator.Writer, "write", no_space)
    with pytest.raises(InputError, match="No space left on device"):
        synth(tmp_path / "logs", samples=10)
    assert list(tmp_path.iterdir()) == []
