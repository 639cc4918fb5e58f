"""Which groups are chosen, and what they are weighed against."""

import re
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recfold
from recfold.batch import Batch
from recfold.fold import FoldSettings, fold
from recfold.fold.choose import Chosen, choose_groups
from recfold.fold.groups import declared_groups
from recfold.logs import Chunk, LogSource, open_logs
from recfold.reader import Reader, ReaderSettings
from recfold.spec import Schema
from recfold.table import FoldedTable


def schema_of(features: dict[str, Any], **more: Any) -> Schema:
    keys = {"request": "r", "candidate": "c", "user": "u", "time": "t"}
    base = {"keys": keys, "labels": {"y": {"column": "y"}}}
    return Schema.parse({**base, "features": features, **more}, "test")


def chosen_of(kinds: dict[str, str], unit: Any, columns: dict[str, Any], **keys: Any) -> Chosen:
    sample = pa.table({**{f"feature.{name}": pa.array(v) for name, v in columns.items()}, **keys, "unit": unit})
    return choose_groups(schema_of({name: {"kind": kind} for name, kind in kinds.items()}), sample)


def groups_of(chosen: Chosen) -> dict[str, str | None]:
    return {name: feature.group for name, feature in chosen.schema.features.items()}


def test_features_that_change_together_share_a_group_and_the_rest_is_stored_per_sample() -> None:
    step = np.arange(40)
    columns = {"a": step // 5, "b": -(step // 5), "slow": step // 20, "each": step}
    chosen = chosen_of(dict.fromkeys(columns, "id"), step // 20, columns)
    assert groups_of(chosen) == {"a": "session_0", "b": "session_0", "slow": "session_1", "each": "sample"}
    groups = chosen.schema.groups
    assert groups["session_0"].kind == "session"
    # 2 units of 20 samples; 3 changes in 19 steps each: 40 samples / 8 runs
    expected = "changes together: p = 0.158, S = 20.0 on 40 samples, expected dedup factor 5.00"
    assert groups["session_0"].chosen == expected
    assert "dedup factor 20.00" in (groups["session_1"].chosen or "")


def test_weights_count_as_changes() -> None:
    schema = schema_of({"a": {"kind": "ids", "weights": "w"}})
    weights = pa.array([[float(i)] for i in range(6)], pa.list_(pa.float32()))
    sample = pa.table({"feature.a": [[1]] * 6, "feature.a.weights": weights, "unit": [0] * 6})
    assert choose_groups(schema, sample).schema.features["a"].group == "sample"


def test_a_group_that_the_user_wrote_is_used_as_it_is_and_weighed() -> None:
    schema = schema_of({"a": {"kind": "ids", "group": "mine"}}, groups={"mine": {"kind": "session"}})
    declared = declared_groups(schema)
    lists = [list(range(i, i + 20)) for i in range(30)]
    chosen = choose_groups(declared, pa.table({"feature.a": lists, "unit": [0] * 30}))
    assert chosen.schema == schema
    (weighed,) = chosen.weighed
    assert (weighed.group, weighed.chosen, weighed.forms[0].kind) == ("mine", None, "session")
    window = next(form for form in weighed.forms if form.kind == "window")
    assert weighed.forms[0].bytes_per_sample > 5 * window.bytes_per_sample


def test_a_value_that_is_no_larger_than_its_index_is_stored_per_sample() -> None:
    chosen = chosen_of({"a": "id"}, [0] * 40, {"a": pa.array([3] * 40, pa.int8())})
    assert groups_of(chosen) == {"a": "sample"}
    assert chosen.weighed[0].chosen == "would not pay in a group: p = 0.000, S = 40.0 on 40 samples"


@pytest.mark.parametrize("newest", ["last", "first"])
def test_aligned_histories_share_a_window_group_and_one_of_other_length_has_its_own(newest: str) -> None:
    """Windows of 8 over a list that grows by one every other sample; `other` keeps 6."""

    def history(first: int, length: int, step: int) -> list[list[int]]:
        lists = [list(range(first + i // step, first + i // step + length)) for _ in range(3) for i in range(20)]
        return lists if newest == "last" else [each[::-1] for each in lists]

    columns = {"seen": history(100, 8, 2), "other": history(500, 6, 2), "bought": history(900, 8, 2)}
    unit = np.repeat(np.arange(3), 20)
    chosen = chosen_of(dict.fromkeys(columns, "sequence"), unit, columns)
    assert groups_of(chosen) == {"seen": "window_0", "other": "window_1", "bought": "window_0"}
    why = chosen.schema.groups["window_0"].chosen or ""
    assert why.startswith(f"windows of one list, newest {newest}: p = 0.474, S = 20.0, l = 8.0, a = 1.0 on 60 samples")
    # 20 windows of 8 of a merged list of 17
    assert why.endswith("expected dedup factor 9.41")


def test_histories_that_move_at_different_samples_are_two_groups() -> None:
    fast, slow = ([list(range(i // step, i // step + 30)) for i in range(60)] for step in (3, 10))
    chosen = chosen_of({"fast": "sequence", "slow": "sequence"}, [0] * 60, {"fast": fast, "slow": slow})
    assert groups_of(chosen) == {"fast": "window_0", "slow": "window_1"}


def test_lists_that_are_drawn_anew_are_no_windows() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 1000, (10, 20)).tolist()
    chosen = chosen_of({"a": "ids"}, [0] * 60, {"a": [drawn[i // 6] for i in range(60)]})
    assert groups_of(chosen) == {"a": "session_0"}


def items_of(num_items: int = 20, units: int = 50, per_unit: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "unit": np.repeat(np.arange(units), per_unit),
        "candidate": rng.integers(0, num_items, units * per_unit),
        "user": np.repeat(np.arange(units) % 10, per_unit),
    }


def test_what_belongs_to_the_candidate_goes_into_one_dictionary() -> None:
    keys = items_of()
    item = keys["candidate"]
    columns = {
        "topics": [[int(i), int(i) + 1, 7] for i in item],
        "genre": item % 4,
        "text": [[f"word {i}"] for i in item],
        "price": np.arange(len(item)) / 2,
        "empty": pa.array([[] if i % 2 else None for i in item], pa.list_(pa.int32())),
    }
    kinds = {"topics": "ids", "genre": "id", "text": "ids", "price": "dense", "empty": "ids"}
    chosen = chosen_of(kinds, keys.pop("unit"), columns, **keys)
    in_it = {"topics": "dictionary_0", "genre": "dictionary_0", "text": "dictionary_0", "empty": "dictionary_0"}
    assert groups_of(chosen) == {**in_it, "price": "sample"}
    group = chosen.schema.groups["dictionary_0"]
    assert (group.kind, group.key) == ("dictionary", "item")
    expected = "belongs to the candidate: at most about 20 rows for 400 samples, expected dedup factor 20.00"
    assert group.chosen == expected


def test_without_a_candidate_key_there_is_no_item_dictionary() -> None:
    keys = items_of()
    columns = {"topics": [[int(i), int(i) + 1, 7] for i in keys.pop("candidate")]}
    chosen = chosen_of({"topics": "ids"}, keys.pop("unit"), columns, **keys)
    assert groups_of(chosen) == {"topics": "sample"}


def test_single_values_alone_make_no_dictionary() -> None:
    keys = items_of()
    columns = {"price": keys["candidate"] * 0.5, "stars": keys["candidate"] * 0.25}
    chosen = chosen_of({"price": "dense", "stars": "dense"}, keys.pop("unit"), columns, **keys)
    assert groups_of(chosen) == {"price": "sample", "stars": "sample"}


def test_wide_lists_that_a_user_keeps_over_sessions_go_into_a_user_dictionary() -> None:
    keys = items_of(per_unit=3)
    lists = [list(range(int(u), int(u) + 50)) for u in keys["user"]]
    chosen = chosen_of({"likes": "ids"}, keys["unit"], {"likes": lists}, user=keys["user"])
    group = chosen.schema.groups["dictionary_0"]
    assert (group.key, groups_of(chosen)) == ("user", {"likes": "dictionary_0"})
    # the same without sessions in common: a session group
    units = np.arange(len(lists)) // 15
    in_order = [lists[i] for i in np.argsort(keys["user"], kind="stable")]
    chosen = chosen_of({"likes": "ids"}, units, {"likes": in_order}, user=np.sort(keys["user"]))
    assert groups_of(chosen) == {"likes": "session_0"}


def test_one_sample_is_stored_per_sample() -> None:
    chosen = chosen_of({"a": "ids", "b": "sequence"}, [0], {"a": [[1, 2]], "b": [[3]]}, candidate=[1], user=[2])
    assert groups_of(chosen) == {"a": "sample", "b": "sample"}


def test_every_form_that_is_possible_is_kept_with_the_stored_one_first() -> None:
    lists = [list(range(i // 4, i // 4 + 9)) for i in range(40)]
    chosen = chosen_of({"seen": "sequence", "x": "dense"}, [0] * 40, {"seen": lists, "x": np.arange(40.0)})
    assert [(w.group, w.features, [f.kind for f in w.forms]) for w in chosen.weighed] == [
        ("window_0", ("seen",), ["window", "sample", "session"]),
        ("sample", ("x",), ["sample", "session"]),
    ]


def with_groups_removed(text: str) -> str:
    text = re.sub(r'group = "\w+", ', "", text)
    return re.sub(r'(?m)^\w+ = \{ kind = "(session|window)" \}\n', "", text)


@pytest.fixture(scope="module")
def undeclared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Workload -> its generated logs, without groups in features.toml."""
    made: dict[str, Path] = {}

    def of(workload: str) -> Path:
        if workload not in made:
            made[workload] = tmp_path_factory.mktemp(workload) / "logs"
            recfold.synth(made[workload], workload=workload, samples=6000, seed=2)
            path = made[workload] / "features.toml"
            path.write_text(with_groups_removed(path.read_text()))
            assert 'kind = "session"' not in path.read_text()
        return made[workload]

    return of


FOUR = {f"session_{g}": tuple(f"user_{5 * g + i:02d}" for i in range(5)) for g in range(4)}
WINDOWS = {f"window_{g}": (f"history_{letter}_item", f"history_{letter}_action") for g, letter in enumerate("ab")}


@pytest.mark.parametrize(("workload", "groups"), [("pooled", FOUR), ("sequence", {**FOUR, **WINDOWS})])
def test_the_groups_of_a_workload_are_found(undeclared: Any, tmp_path: Path, workload: str, groups: Any) -> None:
    logs = undeclared(workload)
    table = fold(logs, tmp_path / "table", settings=FoldSettings(partitions=2, workers=1))
    assert {name: table.schema.features_of(name) for name in table.schema.groups} == groups
    for number, p in enumerate((0.02, 0.05, 0.1, 0.2)):
        measured = re.search(r"p = ([\d.]+)", table.schema.groups[f"session_{number}"].chosen or "")
        assert measured is not None
        assert float(measured[1]) == pytest.approx(p, rel=0.35)
    check_round_trip(logs, table, tmp_path)


def check_round_trip(logs: Path, table: FoldedTable, tmp_path: Path) -> None:
    """Every row of the log comes out of the table; batches hold what those of a table without groups hold."""
    source = open_logs(logs)
    logged = pa.concat_tables([chunk.rows for chunk in source.impressions()]).sort_by("request").combine_chunks()
    expanded = pa.concat_tables(list(table.expand())).sort_by("request").combine_chunks()
    for name in logged.column_names:
        assert expanded[name].combine_chunks().equals(logged[name].combine_chunks().cast(expanded[name].type)), name
    features = {n: f.model_copy(update={"group": "sample"}) for n, f in source.schema.features.items()}
    schema = source.schema.model_copy(update={"features": features})
    plain = fold(replace(source, schema=schema), tmp_path / "plain", settings=FoldSettings(partitions=2, workers=1))
    wanted = ReaderSettings(batch_size=256, order="time", workers=0)
    with Reader(table, settings=wanted) as ours, Reader(plain, settings=wanted) as theirs:
        for mine, other in zip(ours, theirs, strict=True):
            assert lists_of(mine) == lists_of(other)
            for name in table.schema.groups:
                stats = mine.groups[name].stats()
                assert stats.num_distinct < stats.num_samples


def lists_of(batch: Batch) -> dict[str, Any]:
    """Each id feature's values and offsets, one list per sample."""
    found = {}
    for group in batch.expand().groups.values():
        for key in group.lists.keys if group.lists is not None else ():
            values, offsets, _ = group.lists.bags(key)
            found[key] = [values[a:b].tolist() for a, b in pairwise(offsets.tolist())]
    return found


def test_the_choice_does_not_depend_on_workers_or_on_memory(undeclared: Any, tmp_path: Path) -> None:
    texts = []
    for number, how in enumerate(({"workers": 1}, {"workers": 2}, {"workers": 1, "memory_gb": 1e-3})):
        settings = FoldSettings(partitions=3, **how)  # type: ignore[arg-type]
        table = fold(undeclared("pooled"), tmp_path / f"{number}", settings=settings)
        texts.append((table.path / "manifest.json").read_text().replace('"memory_gb": 0.001', ""))
    assert texts[0] == texts[1]
    weighed = [re.sub(r"(?s).*\"weighed\"", "", text).partition("quarantine")[0] for text in texts]
    assert weighed[0] == weighed[2]


KINDS = {"a": "id", "b": "ids", "seen": "sequence", "dwell": "dense_sequence", "x": "dense", "v": "vector", "i": "ids"}
RUN = st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 2), st.integers(1, 3))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RUN, min_size=1, max_size=8), st.sampled_from(["session", "request", "user"]))
def test_whatever_is_chosen_comes_back(logs_of: Any, runs: list[tuple[int, int, int, int]], by: str) -> None:
    """Sessions of n samples, in which histories move by `step`, of a few users and items; null and empty lists too."""
    rows = []
    for session, (n, user, null, step) in enumerate(runs):
        for i in range(n):
            item, moved = (session + i) % 4, list(range(i // 2 * step, i // 2 * step + 6))
            history = None if null == 1 and i % 3 == 0 else moved[::-1] if session % 2 else moved
            rows.append(
                {
                    "request": 100 * session + i,
                    "candidate": item,
                    "session": session,
                    "user": user or None,
                    "time": 1000 * session + i,
                    "label.y": 0.0,
                    "feature.a": user,
                    "feature.b": [] if null == 2 else list(range(user, user + 9)),
                    "feature.b.weights": [] if null == 2 else [0.5 * (i // 3)] * 9,
                    "feature.seen": history,
                    "feature.dwell": None if history is None else [0.25 * h for h in history],
                    "feature.x": float(i),
                    "feature.v": [0.0, -0.0, float(item)],
                    "feature.i": [item] * 12,
                }
            )
    features: dict[str, Any] = {name: {"kind": kind} for name, kind in KINDS.items()}
    features["b"]["weights"] = "w"
    keys = {"request": "r", "candidate": "c", "session": "s", "user": "u", "time": "t"}
    schema = {"keys": keys, "labels": {"y": {"column": "y"}}, "features": features}
    with tempfile.TemporaryDirectory() as folder:
        how = FoldSettings(fold_by=by, split_time=0, workers=1)
        table = fold(logs_of(schema, rows).source(), Path(folder) / "table", settings=how)
        expanded = [row for found in table.expand() for row in found.to_pylist()]
    assert sorted(expanded, key=lambda row: row["request"]) == [{**row, "split": "train"} for row in rows]


def test_histories_of_movielens_become_a_window_group(real_logs: Path, tmp_path: Path) -> None:
    source = open_logs(real_logs / "ml-100k", adapter="movielens")
    features = {n: f.model_copy(update={"group": None}) for n, f in source.schema.features.items()}
    first = next(iter(source.impressions()))
    few = first.rows.slice(0, 8000)
    schema = source.schema.model_copy(update={"features": features, "groups": {}})
    chunks = lambda: iter([Chunk(few, first.rejected)])  # noqa: E731
    source = LogSource(schema, chunks, None, {}, (), "a slice of MovieLens")
    table = fold(source, tmp_path / "table")
    assert table.schema.features_of("window_0") == ("history_item", "history_rating")
    assert "newest last" in (table.schema.groups["window_0"].chosen or "")
    expanded = pa.concat_tables(list(table.expand())).sort_by("request").combine_chunks()
    logged = few.sort_by("request").combine_chunks()
    for name in ("feature.history_item", "feature.history_rating", "feature.item_genres"):
        assert expanded[name].combine_chunks().to_pylist() == logged[name].combine_chunks().to_pylist(), name
