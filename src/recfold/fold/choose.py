"""Groups for the features that have none: by how their values repeat, and by the bytes that each form would take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from recfold.fold.weigh import MIN_DEDUP_FACTOR, Key, Weighing
from recfold.spec import SAMPLE_GROUP, FeatureSpec, GroupSpec, Schema
from recfold.table.manifest import Form, Weighed

MARGIN = 1.25
"""A form is chosen if the plainer one takes at least so many times its bytes: it has to pay for its gather."""
_SLACK = 1.05
"""A feature joins a session group if neither then stores more than 5 % more lists."""


@dataclass(frozen=True)
class Chosen:
    """The schema with a group for every feature, and what every choice was weighed against."""

    schema: Schema
    weighed: tuple[Weighed, ...]


@dataclass(frozen=True)
class _Cluster:
    """Features that would share a group of one form."""

    features: tuple[str, ...]
    form: Form


def choose_groups(
    schema: Schema, sample: pa.Table, num_samples: int | None = None, shapes: Mapping[str, str] | None = None
) -> Chosen:
    """Give every feature without a group the cheapest way to store it, and weigh what the schema says.

    1. Features that change at the same samples would share a session group; it pays from MIN_DEDUP_FACTOR samples a
       list on, if per sample they take MARGIN times its bytes. What is in no such group is stored per sample.
    2. Lists that line up, and whose windows overlap, would share a window group as long as one group takes no more than
       two; values that are the candidate's (or user's) would share a dictionary likewise, if some are lists.
    3. Of these the one that saves most is taken if what its features took so far is MARGIN times its bytes; then the
       next, until none pays.

    Ties go to the form and the feature that come first, so that the choice depends on the sample alone.

    Args:
        sample: sorted samples of whole units, with `unit`.
        num_samples, shapes: of the whole log, see `Weighing`.
    Source: RecD (Zhao et al., MLSys 2023), section 4 for groups and windows.
    """
    weighing = Weighing(schema, sample, num_samples, shapes)
    rest = [name for name, feature in schema.features.items() if feature.group is None and feature.side is None]
    taken: list[_Cluster] = []
    proposals = [_windows(weighing, rest), *(_dictionaries(weighing, rest, key) for key in ("item", "user"))]
    while (best := _best(weighing, rest, [cluster for found in proposals for cluster in found])) is not None:
        taken.append(best)
        rest = [name for name in rest if name not in best.features]
    sessions = [cluster for cluster in _sessions(weighing, rest) if _pays(weighing, cluster)]
    grouped = sorted([*sessions, *taken], key=lambda cluster: list(schema.features).index(cluster.features[0]))
    features: dict[str, FeatureSpec] = {}
    groups = dict(schema.groups)
    for cluster in grouped:
        name = _free_name(cluster.form.kind, groups)
        why = explain(weighing, cluster.features, cluster.form)
        groups[name] = GroupSpec.model_validate({"kind": cluster.form.kind, "key": cluster.form.key, "chosen": why})
        features |= {each: schema.features[each].model_copy(update={"group": name}) for each in cluster.features}
    for name in rest:
        if name not in features:
            features[name] = schema.features[name].model_copy(update={"group": SAMPLE_GROUP})
    found = schema.model_copy(update={"features": {**schema.features, **features}, "groups": groups})
    return Chosen(found, tuple(_weighed(weighing, found, frozenset(rest))))


def explain(weighing: Weighing, features: Sequence[str], form: Form) -> str:
    """Why this form, with what was measured."""
    n, lists = weighing.num_samples, int(weighing.changes(features).sum())
    pairs = n - weighing.num_units
    p = (lists - weighing.num_units) / pairs if pairs else 0.0
    measured = f"p = {p:.3f}, S = {n / weighing.num_units:.1f}"
    factor = f"expected dedup factor {form.dedup_factor:.2f}"
    if form.kind == "session":
        reason = "changes together" if len(features) > 1 else "repeats"
        return f"{reason}: {measured} on {n} samples, {factor}"
    if form.kind == "window":
        found = weighing.windows(features)
        assert found is not None
        measured += f", l = {found.mean_length:.1f}, a = {found.new_per_change:.1f}"
        return f"windows of one list, newest {found.newest}: {measured} on {n} samples, {factor}"
    if form.kind == "dictionary":
        whose = "the candidate" if form.key == "item" else "the user"
        rows = round(weighing.total / form.dedup_factor)
        return f"belongs to {whose}: at most about {rows} rows for {weighing.total} samples, {factor}"
    return f"would not pay in a group: {measured} on {n} samples"


def _sessions(weighing: Weighing, features: Sequence[str]) -> list[_Cluster]:
    """Features that change together, paying or not."""
    clusters: list[tuple[str, ...]] = []
    for name in features:
        lists = int(weighing.changes([name]).sum())
        if weighing.num_samples < MIN_DEDUP_FACTOR * lists:
            continue
        for number, cluster in enumerate(clusters):
            together = int(weighing.changes([*cluster, name]).sum())
            if together <= _SLACK * min(int(weighing.changes(cluster).sum()), lists):
                clusters[number] = (*cluster, name)
                break
        else:
            clusters.append((name,))
    return [_Cluster(cluster, weighing.session(cluster)) for cluster in clusters]


def _windows(weighing: Weighing, features: Sequence[str]) -> list[_Cluster]:
    """Lists whose windows overlap enough to pay, with those that they move along with."""
    clusters: list[_Cluster] = []
    for name in features:
        found, alone = weighing.windows([name]), weighing.window([name])
        if found is None or alone is None or found.overlap < MARGIN:
            continue
        for number, cluster in enumerate(clusters):
            both = weighing.window([*cluster.features, name])
            if both is not None and both.bytes_per_sample <= cluster.form.bytes_per_sample + alone.bytes_per_sample:
                clusters[number] = _Cluster((*cluster.features, name), both)
                break
        else:
            clusters.append(_Cluster((name,), alone))
    return clusters


def _dictionaries(weighing: Weighing, features: Sequence[str], key: Key) -> list[_Cluster]:
    """Features whose values are the key's, as long as one dictionary takes no more than two."""
    clusters: list[_Cluster] = []
    for name in features:
        if not weighing.belongs(name, key):
            continue
        alone = weighing.dictionary([name], key)
        for number, cluster in enumerate(clusters):
            both = weighing.dictionary([*cluster.features, name], key)
            if both.bytes_per_sample <= cluster.form.bytes_per_sample + alone.bytes_per_sample:
                clusters[number] = _Cluster((*cluster.features, name), both)
                break
        else:
            clusters.append(_Cluster((name,), alone))
    return clusters


def _best(weighing: Weighing, rest: Sequence[str], proposed: Sequence[_Cluster]) -> _Cluster | None:
    """The proposal that saves most of the bytes that `rest` takes in session groups and per sample, if one pays."""
    plain = _plain_bytes(weighing, rest)
    best, most = None, 0.0
    for cluster in proposed:
        features = tuple(name for name in cluster.features if name in plain)
        features = tuple(name for name in features if plain[name] > _values_bytes(weighing, name, cluster.form))
        if not features or (cluster.form.kind == "dictionary" and not weighing.has_list(features)):
            continue
        form = _again(weighing, features, cluster.form)
        before = sum(plain[name] for name in features)
        if before >= MARGIN * form.bytes_per_sample and before - form.bytes_per_sample > most:
            best, most = _Cluster(features, form), before - form.bytes_per_sample
    return best


def _plain_bytes(weighing: Weighing, features: Sequence[str]) -> dict[str, float]:
    """What each feature takes in a session group (its share of the inverse included) or per sample."""
    found = {name: weighing.per_sample([name]).bytes_per_sample for name in features}
    for cluster in _sessions(weighing, features):
        if _pays(weighing, cluster):
            values = {name: weighing.values_bytes(name, cluster.features) for name in cluster.features}
            share = (cluster.form.bytes_per_sample - sum(values.values())) / len(values)
            found |= {name: taken + share for name, taken in values.items()}
    return found


def _values_bytes(weighing: Weighing, name: str, form: Form) -> float:
    """About what a feature adds to a group that is there already: its part without an index; 0 for a window."""
    return 0.0 if form.kind == "window" else weighing.per_sample([name]).bytes_per_sample / form.dedup_factor


def _again(weighing: Weighing, features: Sequence[str], form: Form) -> Form:
    """The form for other features."""
    if form.key is not None:
        return weighing.dictionary(features, form.key)
    window = weighing.window(features)
    assert window is not None
    return window


def _pays(weighing: Weighing, cluster: _Cluster) -> bool:
    plain = weighing.per_sample(cluster.features).bytes_per_sample
    return cluster.form.dedup_factor >= MIN_DEDUP_FACTOR and plain >= MARGIN * cluster.form.bytes_per_sample


def _weighed(weighing: Weighing, schema: Schema, open_features: frozenset[str]) -> Iterator[Weighed]:
    """Every group and every feature that is stored per sample, but for side tables: these have one form only."""
    for group, spec in schema.groups.items():
        features = schema.features_of(group)
        if features and all(schema.features[name].side is None for name in features):
            forms = _with(weighing, features, spec.kind, spec.key)
            yield Weighed(group=group, features=features, forms=forms, chosen=spec.chosen)
    for name in schema.features_of(SAMPLE_GROUP):
        forms = _with(weighing, [name], "sample", None)
        why = explain(weighing, [name], forms[0]) if name in open_features else None
        yield Weighed(group=SAMPLE_GROUP, features=(name,), forms=forms, chosen=why)


def _with(weighing: Weighing, features: Sequence[str], kind: str, key: Key | None) -> tuple[Form, ...]:
    """The possible forms, the stored one first."""
    forms = weighing.forms(features)
    stored = weighing.dictionary(features, key) if key is not None else forms[kind, None]
    return (stored, *(form for form in forms.values() if (form.kind, form.key) != (kind, key)))


def _free_name(kind: str, groups: Mapping[str, GroupSpec]) -> str:
    number = 0
    while f"{kind}_{number}" in groups:
        number += 1
    return f"{kind}_{number}"
