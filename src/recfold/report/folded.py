"""What was folded: how often values repeat, what lies on disk, and where every row of the logs went."""

from collections.abc import Mapping, Sequence

from recfold.report.facts import FoldFacts
from recfold.report.format import UNKNOWN, count, factor, plural, size
from recfold.report.markup import Column, Html, details, element, figure, join, note, paragraph, table
from recfold.report.plots import bars
from recfold.spec import SAMPLE_GROUP
from recfold.table import Accounting, FeatureInspection, GroupInspection, Inspection

MAX_BARS = 24
"""A plot of more features than this shows the largest and says how many it leaves out."""

_KINDS: dict[str, str] = {
    "session": "runs inside a session: a list is stored again only when it changes",
    "window": "lists that are windows of one merged list per row",
    "dictionary": "rows that repeat across sessions, stored once in a dictionary",
    "sample": "stored once per sample: folding would not pay",
}


def folded(fold: FoldFacts) -> Html:
    """The section on the table."""
    found = fold.inspection
    return join(
        paragraph(
            "A session makes many samples, and most of their values do not change from one sample to the next. recfold "
            "stores each distinct value list once. The dedup factor of a feature is the number of samples per stored "
            f"list; 1× means that nothing repeats. Each row of this table holds the samples of one {found.fold_by}. "
            f"All splits take {size(found.bytes)} on disk."
        ),
        paragraph("The logs: ", found.description) if found.description else Html(""),
        _splits(found),
        paragraph(f"Samples from {fold.cut} on are held out.") if fold.cut else Html(""),
        element("h3", "How the groups were chosen"),
        paragraph("The features of a group share one index: a sample repeats only where all features of it repeat."),
        _groups(found),
        _inferred(found),
        element("h3", "Feature by feature"),
        _plots(found),
        _features(found),
    )


def _splits(found: Inspection) -> Html:
    columns = [
        Column("split"),
        Column("samples", numeric=True),
        Column(f"{found.fold_by} rows", numeric=True),
        Column("samples per row", numeric=True),
        Column("on disk", numeric=True),
    ]
    rows = [
        (
            split.name,
            count(split.samples),
            count(split.units),
            f"{split.samples / split.units:.1f}" if split.units else UNKNOWN,
            size(split.bytes),
        )
        for split in found.splits
    ]
    return table("Splits. Lists never cross from one to the other.", columns, rows)


def _groups(found: Inspection) -> Html:
    columns = [
        Column("group"),
        Column("kind"),
        Column("features", numeric=True),
        Column("dedup factor", numeric=True, meaning="samples per stored list"),
        Column("stored lists", numeric=True, meaning="of each feature of the group"),
        Column("on disk", numeric=True, meaning="compressed, with what says which sample uses which list"),
        Column("chosen because"),
    ]
    groups = [group for group in found.groups if group.features]
    rows = [
        (
            group.name,
            group.kind,
            count(len(group.features)),
            factor(group.dedup_factor),
            count(group.lists),
            size(group.bytes),
            group.chosen or (UNKNOWN if group.kind == SAMPLE_GROUP else "named in the schema"),
        )
        for group in groups
    ]
    kinds = [kind for kind in _KINDS if any(_base_kind(group) == kind for group in groups)]
    pairs = (join(element("dt", kind), element("dd", _KINDS[kind])) for kind in kinds)
    caption = f"{plural(len(rows), 'group')}, {plural(len(found.features), 'feature')}"
    return join(table(caption, columns, rows), details("What these kinds are", element("dl", *pairs)))


def _base_kind(group: GroupInspection) -> str:
    """`dictionary` of `dictionary (item)`."""
    return group.kind.partition(" ")[0]


def _inferred(found: Inspection) -> Html:
    if not found.inferred:
        return Html("")
    lines = element("ul", *(element("li", line) for line in found.inferred))
    return details("What the fold found out by itself about the columns", lines)


def _plots(found: Inspection) -> Html:
    kind_of = {group.name: _base_kind(group) for group in found.groups}
    plots = []
    for anchor, title, value_of, text in (
        ("dedup", "Samples per stored list", _dedup_factor, factor),
        ("bytes", "Compressed bytes on disk", _bytes, size),
    ):
        ordered = sorted(found.features, key=value_of, reverse=True)
        largest, left_out = ordered[:MAX_BARS], len(ordered[MAX_BARS:])
        if not largest:
            continue
        more = f" The largest {MAX_BARS}, and {left_out:,} more in the table below." if left_out else ""
        plot = bars(
            f"plot-{anchor}",
            f"{title}, feature by feature",
            [feature.name for feature in largest],
            [value_of(feature) for feature in largest],
            kinds=[kind_of.get(feature.group, SAMPLE_GROUP) for feature in largest],
            shown=[text(value_of(feature)) for feature in largest],
        )
        plots.append(figure(plot, f"{title}, by feature; the colour is the kind of its group.{more}"))
    return element("div", *plots, class_="plots")


def _dedup_factor(feature: FeatureInspection) -> float:
    return feature.dedup_factor


def _bytes(feature: FeatureInspection) -> float:
    return feature.bytes


def _features(found: Inspection) -> Html:
    columns = [
        Column("feature"),
        Column("kind"),
        Column("group"),
        Column("dedup factor", numeric=True, meaning="samples per stored list"),
        Column("stored lists", numeric=True),
        Column("stored values", numeric=True, meaning="ids or floats in the stored lists"),
        Column("unfolded", numeric=True, meaning="ids or floats if every sample had its own copy"),
        Column("distinct ids", numeric=True, meaning="about how many"),
        Column("on disk", numeric=True),
    ]
    rows = [
        (
            feature.name,
            feature.kind,
            feature.group,
            factor(feature.dedup_factor),
            count(feature.lists),
            count(feature.values),
            count(feature.expanded_values),
            count(feature.distinct),
            size(feature.bytes),
        )
        for feature in sorted(found.features, key=_bytes, reverse=True)
    ]
    return table(f"All {plural(len(rows), 'feature')}, the largest on disk first", columns, rows)


def accounted(accounting: Accounting) -> Html:
    """Both equations and the quarantine by reason."""
    parts = [
        paragraph("Every row of both logs is in the table or in quarantine, with a reason."),
        _equation(
            "candidate rows in",
            accounting.candidate_rows_in,
            [
                *((f"{name} samples", number) for name, number in accounting.samples.items()),
                ("quarantined", sum(accounting.quarantined_candidates.values())),
            ],
        ),
        _equation(
            "outcomes in",
            accounting.outcomes_in,
            [("joined", accounting.joined), ("quarantined", sum(accounting.quarantined_outcomes.values()))],
        ),
    ]
    rows = [
        *(("candidate rows", reason, count(n)) for reason, n in _by_number(accounting.quarantined_candidates)),
        *(("outcomes", reason, count(n)) for reason, n in _by_number(accounting.quarantined_outcomes)),
        *(("rows of side tables", reason, count(n)) for reason, n in _by_number(accounting.quarantined_sides)),
    ]
    columns = [Column("what"), Column("reason"), Column("rows", numeric=True)]
    parts.append(table("Quarantine by reason", columns, rows) if rows else note("Nothing is in quarantine."))
    return join(*parts)


def _equation(name: str, total: int, parts: Sequence[tuple[str, int]]) -> Html:
    right = " + ".join(f"{count(number)} {part}" for part, number in parts)
    line = element("code", f"{count(total)} {name} = {right}")
    missing = total - sum(number for _, number in parts)
    if missing == 0:
        return element("p", line, " ✓", class_="equation")
    wrong = element("span", f"does not add up: off by {count(missing)}", class_="wrong")
    return element("p", line, " ", wrong, class_="equation")


def _by_number(reasons: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
