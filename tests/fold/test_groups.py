"""Groups that the user says."""

from typing import Any

import pytest

from recfold.fold.groups import declared_groups
from recfold.spec import InputError, Schema


def schema_of(features: dict[str, Any], **more: Any) -> Schema:
    base = {"keys": {"request": "r", "user": "u", "time": "t"}, "labels": {"y": {"column": "y"}}}
    return Schema.parse({**base, "features": features, **more}, "test")


SIDES = {"users": {"files": "users*", "key": "user", "column": "u"}}


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
