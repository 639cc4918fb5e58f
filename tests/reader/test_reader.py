"""The reader against its slow twin: every kind of group and feature, order, world size and batch size."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recfold.batch import Batch, InverseKeyedJaggedTensor
from recfold.reader import Reader, ReaderSettings, read_reference
from recfold.spec import InputError, Schema

HERE = ReaderSettings(workers=0, batch_size=4, block_samples=5, shuffle_window=2)


def rows_of(batch: Batch) -> list[dict]:
    """The samples of a batch as plain Python values, from its expanded form."""
    plain = batch.expand()
    rows: list[dict] = [{} for _ in range(batch.num_samples)]
    for name, key in batch.keys.items():
        put(rows, f"key.{name}", key.tolist())
    for number, label in enumerate(batch.label_names):
        put(rows, f"label.{label}", batch.labels[:, number].tolist())
    if batch.weight is not None:
        put(rows, "weight", batch.weight.tolist())
    for group in plain.groups.values():
        for lists in (group.lists, group.dense_lists):
            for key in lists.keys if lists is not None else ():
                values, offsets, weights = lists.bags(key)
                bounds = list(zip(offsets.tolist(), offsets.tolist()[1:], strict=False))
                put(rows, key, [values[a:b].tolist() for a, b in bounds])
                put(rows, f"{key} weights", [weights[a:b].tolist() if weights is not None else None for a, b in bounds])
        for key in group.dense_keys:
            put(rows, key, group.dense_of(key).tolist())
    return rows


def put(rows: list[dict], name: str, values: list) -> None:
    for row, value in zip(rows, values, strict=True):
        row[name] = value


def plain_row(reference: dict, schema: Schema) -> dict:
    """A row of the twin in the same form; a group that has weights gives ones to its features without."""
    weighted = {"user", "past"}
    found: dict = {}
    for name, value in reference.items():
        if name not in schema.features:
            found[name] = value
            continue
        found[name] = value.values
        kind = schema.features[name].kind
        if kind in ("id", "ids", "sequence") or name == "income":
            ones = [1.0] * len(value.values) if schema.group_of(name) in weighted else None
            found[f"{name} weights"] = value.weights or ones
        elif kind == "dense_sequence":
            found[f"{name} weights"] = None
    return found


def assert_same(batches: list[Batch], expected: list[list[dict]], schema: Schema) -> None:
    assert [batch.num_samples for batch in batches] == [len(rows) for rows in expected]
    for batch, rows in zip(batches, expected, strict=True):
        for got, reference in zip(rows_of(batch), rows, strict=True):
            want = plain_row(reference, schema)
            assert got.keys() == want.keys()
            for name, value in want.items():
                both_nan = isinstance(value, float) and math.isnan(value) and math.isnan(got[name])
                assert both_nan or got[name] == value, name


def assert_valid(batch: Batch) -> None:
    """Everything that the batch room checks, which the reader leaves out; and no list that no sample uses."""
    for group in batch.groups.values():
        assert (group.index.counts() > 0).all()
        for part in (group.lists, group.dense_lists):
            if part is not None:
                InverseKeyedJaggedTensor(
                    part.keys,
                    part.values,
                    part.offsets,
                    part.inverse,
                    part.weights,
                    start=part.start,
                    length=part.length,
                )


def assert_identical(left: Batch, right: Batch) -> None:
    """Bit for bit, structure included."""
    for a, b in zip(tensors_of(left), tensors_of(right), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert a.numpy().tobytes() == b.numpy().tobytes()


def tensors_of(batch: Batch) -> list:
    found = [batch.labels, batch.weight, *batch.keys.values()]
    for group in batch.groups.values():
        found += [group.index.inverse, group.dense]
        for part in (group.lists, group.dense_lists):
            if part is not None:
                found += [part.values, part.offsets, part.weights, part.start, part.length]
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_batches_are_those_of_the_twin(tmp_path_factory, folded, data):
    counts = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)
    parts = data.draw(st.lists(counts, min_size=1, max_size=3).map(tuple))
    table = folded(tmp_path_factory.mktemp("folded") / "table", data.draw(st.integers(0, 999)), parts)
    own = ReaderSettings(
        workers=0,
        batch_size=data.draw(st.sampled_from([1, 3, 4, 100])),
        order=data.draw(st.sampled_from(["time", "shuffle"])),
        seed=data.draw(st.integers(0, 3)),
        block_samples=data.draw(st.integers(1, 9)),
        shuffle_window=data.draw(st.integers(1, 3)),
    )
    world_size = data.draw(st.integers(1, 3))
    for rank in range(world_size):
        reader = Reader(table, settings=own, rank=rank, world_size=world_size)
        for epoch in range(2):
            expected = read_reference(table, settings=own, epoch=epoch, rank=rank, world_size=world_size)
            assert reader.num_batches() == len(expected)
            assert reader.num_samples == sum(map(len, expected))
            batches = list(reader)
            assert_same(batches, expected, table.schema)
            for batch in batches:
                assert_valid(batch)


def test_a_group_is_folded_as_its_kind_says(table):
    (batch,) = Reader(table, settings=HERE.model_copy(update={"batch_size": 99, "order": "time"}))
    assert batch.num_samples == 15
    user, history, past = (batch.groups[name].lists for name in ("user", "history", "past"))
    assert list(batch.groups) == ["user", "history", "past", "profile", "candidate", "sample"]
    inverse = user.inverse
    assert (inverse.diff() >= 0).all()
    assert user.num_distinct < 15
    assert user.keys == ("city", "likes", "pairs", "income")
    # truncation of every feature keeps windows; n-grams of one feature out of two do not
    assert history.is_window
    assert not past.is_window
    assert history.index is batch.groups["history"].dense_lists.index
    assert batch.groups["candidate"].index.num_distinct <= 6
    assert batch.groups["sample"].index.is_identity
    assert batch.groups["user"].dense_keys == ("age", "taste")
    assert batch.groups["user"].dense.shape == (user.num_distinct, 4)
    assert batch.label_names == ("click", "like")
    assert list(batch.keys) == ["session", "user", "request", "candidate", "position", "time"]


def test_ids_are_rows_of_their_tables(table):
    reader = Reader(table, settings=HERE)
    tables = reader.schema.resolved_tables()
    for batch in reader:
        for group in batch.groups.values():
            for key in group.lists.keys if group.lists is not None else ():
                values = group.lists.lists(key)[0]
                assert ((values >= 0) & (values < tables[reader.schema.table_of(key)].rows)).all()


def test_a_merged_list_keeps_only_positions_that_a_window_uses(table):
    for batch in Reader(table, settings=HERE):
        history = batch.groups["history"].lists
        values, start, length, _ = history.lists("seen")
        used = {p for s, n in zip(start.tolist(), length.tolist(), strict=True) for p in range(s, s + n)}
        assert used == set(range(len(values)))


@pytest.mark.parametrize("order", ["time", "shuffle"])
def test_restores_at_every_batch(table, order):
    own = HERE.model_copy(update={"order": order, "batch_size": 2})
    whole = list(Reader(table, settings=own))
    reader = Reader(table, settings=own)
    states = [reader.state_dict()]
    for _ in reader:
        states.append(reader.state_dict())
    assert reader.epoch == 1
    second = list(reader)
    for taken, state in enumerate(states):
        resumed = Reader(table, settings=own)
        resumed.load_state_dict(state)
        assert resumed.num_batches() == len(whole) - taken
        rest = [*resumed, *resumed]
        assert len(rest) == len(whole) - taken + len(second)
        for batch, expected in zip(rest, [*whole[taken:], *second], strict=True):
            assert_identical(batch, expected)


@settings(max_examples=25, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=4))
def test_another_world_size_deals_out_exactly_the_rest(table, changes):
    own = HERE.model_copy(update={"order": "time"})
    state, seen = Reader(table, settings=own).state_dict(), []
    for world_size, batch_size, steps in [*changes, (2, 3, 99)]:
        states = []
        for rank in range(world_size):
            reader = Reader(
                table, settings=own.model_copy(update={"batch_size": batch_size}), rank=rank, world_size=world_size
            )
            reader.load_state_dict(state)
            for _, batch in zip(range(min(steps, reader.num_steps())), reader.lockstep(), strict=False):
                seen += batch.keys["time"].tolist()
            states.append(reader.state_dict())
        assert all(other == states[0] for other in states)
        state = states[0]
    everything = [row["key.time"] for rows in read_reference(table, settings=own) for row in rows]
    assert sorted(seen) == sorted(everything)


def test_ranks_in_lockstep_make_as_many_batches(table):
    own = HERE.model_copy(update={"block_samples": 8})
    readers = [Reader(table, settings=own, rank=rank, world_size=3) for rank in range(3)]
    assert len({reader.num_batches() for reader in readers}) > 1
    steps = {reader.num_steps() for reader in readers}
    batches = [list(reader.lockstep()) for reader in readers]
    assert {len(found) for found in batches} == steps
    empty = [batch for found in batches for batch in found if not batch.num_samples]
    assert empty
    full = batches[0][0]
    for batch in empty:
        assert [batch.groups.keys(), batch.keys.keys()] == [full.groups.keys(), full.keys.keys()]
        assert str(rows_of(Batch.concat([batch.expand(), full.expand()]))) == str(rows_of(full))
    assert {reader.epoch for reader in readers} == {1}


def test_leaving_the_loop_and_coming_back_goes_on(table):
    own = HERE.model_copy(update={"batch_size": 2})
    whole = list(Reader(table, settings=own))
    reader = Reader(table, settings=own)
    found = []
    while reader.epoch == 0:
        for batch in reader:
            found.append(batch)
            if len(found) % 3 == 0:
                break
    assert len(found) == len(whole)
    for batch, expected in zip(found, whole, strict=True):
        assert_identical(batch, expected)


def test_set_epoch_starts_an_epoch(table):
    reader = Reader(table, settings=HERE)
    first, second = list(reader), list(reader)
    reader.set_epoch(1)
    for batch, expected in zip(reader, second, strict=True):
        assert_identical(batch, expected)
    assert rows_of(first[0]) != rows_of(second[0])


def test_a_schema_overrides_transforms_and_leaves_features_out(table):
    override = Schema.parse(
        {
            **table.schema.model_dump(),
            "labels": {"like": {"column": "like", "weight": 2.0}},
            "groups": {"history": {"kind": "window"}},
            "features": {
                "seen": {"kind": "sequence", "transforms": [{"op": "hash", "rows": 7}], "table": "seen_table"},
                "city": {"kind": "id", "group": "user"},
                "price": {"kind": "dense", "group": "sample"},
            },
            "tables": {},
        },
        "override",
    )
    reader = Reader(table, settings=HERE, schema=override)
    assert list(reader.schema.features) == ["city", "seen", "price"]
    assert reader.schema.labels["like"].weight == 2.0
    assert reader.schema.resolved_tables()["seen_table"].rows == 7
    batch = next(iter(reader))
    assert batch.label_names == ("like",)
    assert list(batch.groups) == ["user", "history", "sample"]
    assert batch.groups["history"].lists.values.max() < 7
    expected = read_reference(table, settings=HERE, schema=override)
    got = [row["seen"] for row in rows_of(batch)]
    assert got == [row["seen"].values for row in expected[0]]


@pytest.mark.parametrize(
    "features, message",
    [
        ({"sen": {"kind": "sequence"}}, "unknown feature 'sen'.*did you mean 'seen'"),
        (
            {"seen": {"kind": "ids"}},
            "the schema gives feature 'seen' another kind than the table has; got ids; expected sequence",
        ),
        ({"city": {"kind": "id", "group": "sample"}}, "feature 'city' another group than the table has; got sample"),
        (
            {"age": {"kind": "dense", "transforms": [{"op": "hash", "rows": 2}]}},
            "feature 'age' of kind dense cannot be",
        ),
    ],
)
def test_a_schema_that_does_not_fit_the_table_is_one_line(table, features, message):
    override = Schema.parse({**table.schema.model_dump(), "features": features}, "override")
    with pytest.raises(InputError, match=message):
        Reader(table, schema=override)


def test_wrong_arguments(table, tmp_path):
    with pytest.raises(InputError, match=r"unknown split 'trian'.*did you mean 'train'"):
        Reader(table, "trian")
    with pytest.raises(InputError, match="there is no rank 2 of 2"):
        Reader(table, rank=2, world_size=2)
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        Reader(tmp_path)
    with pytest.raises(InputError, match=r"batch_size.*greater than 0"):
        ReaderSettings.parse({"batch_size": 0}, "--set")
    with pytest.raises(InputError, match="an epoch is counted from 0; got -1"):
        Reader(table).set_epoch(-1)


def test_a_state_of_something_else_is_refused(table, folded, tmp_path):
    state = Reader(table, settings=HERE).state_dict()
    other = folded(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="the reader's state is of another folded table"):
        Reader(other, settings=HERE).load_state_dict(state)
    with pytest.raises(InputError, match="made with another seed; got 0; expected 5"):
        Reader(table, settings=HERE.model_copy(update={"seed": 5})).load_state_dict(state)
    with pytest.raises(InputError, match="made with another order; got 'shuffle'; expected 'time'"):
        Reader(table, settings=HERE.model_copy(update={"order": "time"})).load_state_dict(state)
    with pytest.raises(InputError, match="the reader's state: unknown key 'epoc'"):
        Reader(table, settings=HERE).load_state_dict({**state, "epoc": 1})
    with pytest.raises(InputError, match=r"the reader's state is damaged; got deal \[0, 1, 1\]"):
        Reader(table, settings=HERE).load_state_dict({**state, "deals": [[0, 1, 1]]})


def test_batches_are_pinned_where_asked_and_possible(table):
    batch = next(iter(Reader(table, settings=HERE.model_copy(update={"pin_memory": True}))))
    assert batch.labels.is_pinned() == torch.cuda.is_available()
    assert not next(iter(Reader(table, settings=HERE))).labels.is_pinned()


def test_a_file_that_is_gone_is_named(folded, tmp_path):
    table = folded(tmp_path / "table")
    table.parts("train")[1].path.unlink()
    with pytest.raises(InputError, match=r"part-00001\.parquet is missing, but the manifest names it"):
        list(Reader(table, settings=HERE))


def test_a_damaged_file_is_named(folded, tmp_path):
    table = folded(tmp_path / "table")
    reader = Reader(table, settings=HERE)
    path = table.parts("train")[1].path
    data = bytearray(path.read_bytes())
    data[60:400] = bytes(340)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"part-00001\.parquet is damaged"):
        list(reader)


def test_a_table_without_units_has_no_batches(folded, tmp_path):
    reader = Reader(folded(tmp_path / "table", parts=()), settings=HERE)
    assert (reader.num_batches(), reader.num_samples, list(reader), reader.epoch) == (0, 0, [], 1)


def test_row_groups_are_dropped_when_they_are_done_with(folded, tmp_path):
    table = folded(tmp_path / "table", parts=((3,) * 8, (2,) * 8))
    reader = Reader(table, settings=HERE.model_copy(update={"batch_size": 3, "shuffle_window": 1}))
    held = [len(reader._store._row_groups) for _ in reader]
    assert max(held) <= 3
    assert not reader._store._row_groups
