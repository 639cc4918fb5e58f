"""Results as tables and lines."""

import json
from dataclasses import asdict

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table as Grid

from recfold.spec import SAMPLE_GROUP
from recfold.table import Accounting, Inspection


def show_inspection(console: Console, found: Inspection) -> None:
    """What was folded: splits, groups, features, accounting."""
    console.print(f"[bold]{found.path}[/bold]  {found.description}  (a row is a {found.fold_by})")
    for split in found.splits:
        console.print(f"{split.name}: {split.samples:,} samples in {split.units:,} rows, {split.parts} files")
    console.print(
        f"{found.bytes:,} bytes on disk; about {found.raw_bytes:,} bytes as plain values"
        f" ({found.raw_bytes / max(found.bytes, 1):.1f}x)"
    )
    groups = Grid(title="groups", title_justify="left")
    for name in ("group", "kind", "features", "distinct lists", "dedup factor", "bytes", "chosen"):
        groups.add_column(name, justify="right" if name in ("distinct lists", "dedup factor", "bytes") else "left")
    for group in found.groups:
        groups.add_row(
            group.name,
            group.kind,
            str(len(group.features)),
            f"{group.lists:,}",
            f"{group.dedup_factor:.2f}",
            f"{group.bytes:,}",
            group.chosen or ("" if group.kind == SAMPLE_GROUP else "by the schema"),
        )
    console.print(groups)
    _show_choices(console, found)
    features = Grid(title="features", title_justify="left")
    for name in ("feature", "kind", "group", "type", "dedup factor", "values", "if expanded", "distinct ids", "bytes"):
        features.add_column(name, justify="left" if name in ("feature", "kind", "group", "type") else "right")
    features.add_column("encoding")
    for feature in found.features:
        features.add_row(
            feature.name,
            feature.kind,
            feature.group,
            feature.type,
            f"{feature.dedup_factor:.2f}",
            f"{feature.values:,}",
            f"{feature.expanded_values:,}",
            "" if feature.distinct is None else f"{feature.distinct:,}",
            f"{feature.bytes:,}",
            " / ".join(feature.encodings.values()),
        )
    console.print(features)
    show_accounting(console, found.accounting)
    if found.verified:
        console.print("every file has the checksum that the manifest says")


def _show_choices(console: Console, found: Inspection) -> None:
    """What each choice takes and what others would; features that are stored per sample alike in one line."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for group in found.groups:
        if group.explained:
            console.print(f"{group.name} is stored as {'; '.join(group.explained)}", highlight=False, soft_wrap=True)
    for feature in found.features:
        if feature.explained:
            why = [] if feature.chosen is None else [feature.chosen]
            alike.setdefault((*feature.explained, *why), []).append(feature.name)
    for text, names in alike.items():
        verb = "is" if len(names) == 1 else "are"
        console.print(f"{', '.join(names)} {verb} stored {'; '.join(text)}", highlight=False, soft_wrap=True)


def inspection_json(found: Inspection) -> str:
    """An inspection as JSON."""
    return json.dumps(asdict(found), default=_plain, indent=1, ensure_ascii=False)


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def show_accounting(console: Console, accounting: Accounting) -> None:
    """Both equations, and the reasons of what is in quarantine."""
    samples = " + ".join(f"{number:,} {split}" for split, number in accounting.samples.items())
    rejected = sum(accounting.quarantined_candidates.values())
    console.print(f"candidate rows {accounting.candidate_rows_in:,} = {samples} + {rejected:,} in quarantine")
    rejected = sum(accounting.quarantined_outcomes.values())
    console.print(f"outcomes {accounting.outcomes_in:,} = {accounting.joined:,} joined + {rejected:,} in quarantine")
    for what, reasons in (
        ("candidate rows", accounting.quarantined_candidates),
        ("outcomes", accounting.quarantined_outcomes),
        ("side rows", accounting.quarantined_sides),
    ):
        for reason, number in reasons.items():
            console.print(f"  {number:,} {what}: {reason}")
