"""What a batch consists of, derived from the schema once."""

import itertools
from dataclasses import dataclass
from typing import Literal

from recfold.spec import SAMPLE_GROUP, Schema
from recfold.spec.transforms import Cross, Ngram, Truncate
from recfold.transform import check_transforms

StoredAs = Literal["sample", "session", "window", "dictionary"]


@dataclass(frozen=True)
class GroupLayout:
    """One group of a batch; features in schema order.

    Args:
        name: of the group.
        stored_as: its kind, or `sample`.
        shared: whether a dictionary group's rows are one file for the split (items), not one a part (users).
        features: all of them.
        lists: features that are ids after their transforms.
        dense_lists: sequences of floats.
        dense, widths: dense features and vectors, and their columns.
        weighted: whether any of `lists` has weights.
        bundles: the features in order of the batch, those next to each other that are of one kind and transformed alike
            together.
        crosses: whether a transform of one feature reads another.
        windows: whether the features of a window group are still the same windows after their transforms. It follows
            from the schema alone, so that a batch has one form whatever is in it.
    """

    name: str
    stored_as: StoredAs
    shared: bool
    features: tuple[str, ...]
    lists: tuple[str, ...]
    dense_lists: tuple[str, ...]
    dense: tuple[str, ...]
    widths: tuple[int, ...]
    weighted: bool
    windows: bool
    bundles: tuple[tuple[str, ...], ...]
    crosses: bool


@dataclass(frozen=True)
class Layout:
    """All groups of a batch and its labels.

    Args:
        schema: the effective one.
        groups: groups that have features; `sample` last.
    """

    schema: Schema
    groups: tuple[GroupLayout, ...]
    labels: tuple[str, ...]


def layout_of(schema: Schema) -> Layout:
    """The layout of the batches of a schema."""
    kinds = check_transforms(schema)
    groups = []
    for name in (*schema.groups, SAMPLE_GROUP):
        features = schema.features_of(name)
        if not features:
            continue
        spec = schema.groups.get(name)
        lists = tuple(f for f in features if kinds[f] in ("id", "ids", "sequence"))
        dense = tuple(f for f in features if kinds[f] in ("dense", "vector"))
        dense_lists = tuple(f for f in features if kinds[f] == "dense_sequence")
        groups.append(
            GroupLayout(
                name=name,
                stored_as="sample" if spec is None else spec.kind,
                shared=spec is not None and spec.key == "item",
                features=features,
                lists=lists,
                dense_lists=dense_lists,
                dense=dense,
                widths=tuple(schema.features[f].width or 1 if kinds[f] == "vector" else 1 for f in dense),
                weighted=any(_weighted(schema, f) for f in lists),
                windows=spec is not None and spec.kind == "window" and _alike(schema, features),
                bundles=tuple(bundle for part in (lists, dense_lists, dense) for bundle in _bundles(schema, part)),
                crosses=any(isinstance(t, Cross) for f in features for t in schema.features[f].transforms),
            )
        )
    return Layout(schema, tuple(groups), tuple(schema.labels))


def _alike(schema: Schema, features: tuple[str, ...]) -> bool:
    """Whether transforms move the windows of all features in the same way: truncate and ngram do, cross makes lists."""
    moves = [
        [(t.op, t.length, t.keep) if isinstance(t, Truncate) else (t.op, t.n, "") for t in transforms]
        for transforms in (
            [t for t in schema.features[f].transforms if isinstance(t, Truncate | Ngram)] for f in features
        )
    ]
    crossed = any(isinstance(t, Cross) for f in features for t in schema.features[f].transforms)
    return not crossed and all(move == moves[0] for move in moves)


def _bundles(schema: Schema, features: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Features cut where the kind or the transforms change."""
    same = itertools.groupby(features, key=lambda f: (schema.features[f].kind, schema.features[f].transforms))
    return [tuple(bundle) for _, bundle in same]


def _weighted(schema: Schema, feature: str) -> bool:
    """Whether the lists of a feature have weights: its own, or those of a feature that it is crossed with."""
    spec = schema.features[feature]
    others = (schema.features[t.other] for t in spec.transforms if isinstance(t, Cross))
    return spec.weights is not None or any(other.weights is not None for other in others)
