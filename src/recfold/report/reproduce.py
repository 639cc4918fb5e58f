"""Settings, versions and the commands that make the run again."""

import json
import shlex
from collections.abc import Iterator, Mapping

from recfold.report.facts import RunFacts
from recfold.report.markup import Column, Html, code, details, element, join, note, paragraph, table
from recfold.spec import Settings
from recfold.train import RunSettings


def commands(facts: RunFacts) -> tuple[str, ...]:
    """Command lines that train, evaluate and report this run again from its folded table.

    Settings that differ from the defaults are given with `--set`.
    """
    run, source = shlex.quote(facts.run), shlex.quote(facts.table)
    defaults = leaves(RunSettings())
    changed = [
        f"--set {shlex.quote(f'{key}={_written(value)}')}"
        for key, value in leaves(facts.settings).items()
        if value != defaults.get(key)
    ]
    train = " \\\n    ".join([f"recfold train {source} --out {run}", *changed])
    return train, f"recfold evaluate {run} {source}", f"recfold report {run}"


def reproduce(facts: RunFacts) -> Html:
    """How to run it again, and where it ran."""
    lines = element("pre", element("code", "\n".join(commands(facts))))
    known = {**facts.versions, **facts.circumstances}
    where = (
        table("Versions and machine", [Column("what"), Column("value")], known.items())
        if known
        else note("The run does not say with which versions it was made.")
    )
    own = "This run has transforms or labels of its own: its schema is schema.json in the run's folder."
    return join(
        paragraph(
            "With the same table, versions and number of threads these lines give the same weights bit for bit. The "
            "table itself comes from ",
            code("recfold fold LOGS --out TABLE"),
            " with the settings of the fold above.",
        ),
        note(own) if facts.own_schema else Html(""),
        lines,
        where,
    )


def settings(facts: RunFacts) -> Html:
    """All settings of the run and of the fold, behind a click."""
    parts = [_listing("Settings of the run", leaves(facts.settings))]
    if facts.fold is not None:
        parts.append(_listing("Settings of the fold", facts.fold.settings))
    return join(*parts)


def _listing(title: str, values: Mapping[str, object]) -> Html:
    rows = [(code(key), code(_written(value))) for key, value in values.items()]
    return details(f"{title} ({len(rows)})", table(title, [Column("setting"), Column("value")], rows))


def leaves(settings: Settings, prefix: str = "") -> dict[str, object]:
    """Nested settings under dotted keys; a dict of free options is one value.

    Example:
        >>> class Inner(Settings):
        ...     options: dict[str, float] = {"lr": 0.1}
        >>> class Outer(Settings):
        ...     seed: int = 0
        ...     train: Inner = Inner()
        >>> leaves(Outer())
        {'seed': 0, 'train.options': {'lr': 0.1}}
    """
    return dict(_walk(settings, prefix))


def _walk(settings: Settings, prefix: str) -> Iterator[tuple[str, object]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _written(value: object) -> str:
    """As `--set` reads it: a string that does not look like JSON as it is, everything else as JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except json.JSONDecodeError:
            return value
    return json.dumps(value, ensure_ascii=False, default=str)
