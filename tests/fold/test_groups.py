"""Groups that the user says, and groups that the fold chooses."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recfold.fold.groups import choose_groups, declared_groups
from recfold.spec import InputError, Schema


def schema_of(features: dict[str, Any], **more: Any) -> Schema:
    base = {"keys": {"request": "r", "user": "u", "time": "t"}, "labels": {"y": {"column": "y"}}}
    return Schema.parse({**base, "features": features, **more}, "test")


SIDES = {"users": {"files": "users*", "key": "user", "column": "u"}}


def test_features_that_change_together_share_a_group_and_the_rest_is_stored_per_sample() -> None:
    schema = schema_of({name: {"kind": "id"} for name in ("a", "b", "slow", "each")})
    step = np.arange(40)
    columns = {"feature.a": step // 5, "feature.b": -(step // 5), "feature.slow": step // 20, "feature.each": step}
    sample = pa.table({**{name: pa.array(values) for name, values in columns.items()}, "unit": pa.array(step // 20)})
    chosen = choose_groups(schema, sample)
    assert {name: feature.group for name, feature in chosen.features.items()} == {
        "a": "session_0",
        "b": "session_0",
        "slow": "session_1",
        "each": "sample",
    }
    assert chosen.groups["session_0"].kind == "session"
    # 2 units of 20 samples; 3 changes in 19 steps each: 40 samples / 8 runs
    expected = "changes together: p = 0.158, S = 20.0 on 40 samples, expected dedup factor 5.00"
    assert chosen.groups["session_0"].chosen == expected
    assert "dedup factor 20.00" in (chosen.groups["session_1"].chosen or "")


def test_weights_count_as_changes() -> None:
    schema = schema_of({"a": {"kind": "ids", "weights": "w"}})
    weights = pa.array([[float(i)] for i in range(6)], pa.list_(pa.float32()))
    sample = pa.table({"feature.a": [[1]] * 6, "feature.a.weights": weights, "unit": [0] * 6})
    assert choose_groups(schema, sample).features["a"].group == "sample"


def test_a_group_that_the_user_wrote_is_used_as_it_is() -> None:
    schema = schema_of({"a": {"kind": "id", "group": "mine"}}, groups={"mine": {"kind": "session"}})
    declared = declared_groups(schema)
    assert choose_groups(declared, pa.table({"feature.a": [1, 2], "unit": [0, 0]})) == schema


def test_a_group_without_kind_is_a_session_group_and_says_so() -> None:
    declared = declared_groups(schema_of({"a": {"kind": "id", "group": "mine"}}))
    assert declared.groups["mine"].kind == "session"
    assert "say no kind" in (declared.groups["mine"].chosen or "")


def test_side_features_become_a_dictionary_group() -> None:
    declared = declared_groups(schema_of({"past": {"kind": "sequence", "side": "users"}}, sides=SIDES))
    assert declared.features["past"].group == "users"
    assert (declared.groups["users"].kind, declared.groups["users"].key) == ("dictionary", "user")


def test_a_group_of_nobody_is_left_out() -> None:
    schema = schema_of({"a": {"kind": "id"}}, groups={"unused": {"kind": "window"}})
    assert declared_groups(schema).groups == {}


@pytest.mark.parametrize(
    ("features", "groups", "message"),
    [
        ({"a": {"kind": "id", "group": "part-x"}}, {}, r"a group cannot be called 'part-x'"),
        (
            {"a": {"kind": "id", "side": "users", "group": "sample"}},
            {},
            r"side feature 'a' cannot be stored per sample",
        ),
        (
            {"a": {"kind": "id", "side": "users", "group": "g"}},
            {"g": {"kind": "session"}},
            r"holds features of side table 'users'; got kind 'session'.*expected kind 'dictionary', key 'user'",
        ),
        (
            {"a": {"kind": "id", "side": "users", "group": "g"}, "b": {"kind": "id", "group": "g"}},
            {"g": {"kind": "dictionary", "key": "user"}},
            r"group 'g' mixes features of 2 tables",
        ),
    ],
)
def test_a_group_that_cannot_be_is_a_clear_error(features: Any, groups: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        declared_groups(schema_of(features, groups=groups, sides=SIDES))
