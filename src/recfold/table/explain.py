"""In plain words: why features are stored as they are, and what another choice would cost."""

from recfold.spec import SAMPLE_GROUP
from recfold.table.manifest import Form, Weighed

MUCH_CHEAPER = 2 / 3
"""What the schema says is questioned only where another form takes at most this share of the bytes."""


def explain(weighed: Weighed) -> tuple[str, ...]:
    """The stored form, then one line for each other one that is possible.

    >>> stored = Form(kind="session", dedup_factor=5.0, bytes_per_sample=10.0)
    >>> others = (Form(kind="sample", dedup_factor=1, bytes_per_sample=31), Form(kind="window", dedup_factor=40,
    ...     bytes_per_sample=2.5))
    >>> for line in explain(Weighed(group="history", features=("seen",), forms=(stored, *others))):
    ...     print(line)
    a session group: about 10.0 bytes a sample before compression, expected dedup factor 5.00
    per sample: 3.1x the bytes
    consider kind window: 0.25x the bytes
    """
    stored, *others = weighed.forms
    of = " of its values" if stored.kind == "window" else ""
    factor = "" if stored.kind == SAMPLE_GROUP else f", expected dedup factor{of} {stored.dedup_factor:.2f}"
    lines = [f"{_name(stored)}: about {stored.bytes_per_sample:.1f} bytes a sample before compression{factor}"]
    cheapest = min((form.bytes_per_sample for form in others), default=0.0)
    for form in others:
        bytes_of = f"{_times(form.bytes_per_sample / max(stored.bytes_per_sample, 1e-9))}x the bytes"
        cheap = form.bytes_per_sample <= MUCH_CHEAPER * stored.bytes_per_sample
        if weighed.chosen is None and cheap and form.bytes_per_sample == cheapest:
            lines.append(f"consider {_setting(form)}: {bytes_of}")
        else:
            lines.append(f"{_name(form)}: {bytes_of}")
    return tuple(lines)


def _name(form: Form) -> str:
    if form.kind == SAMPLE_GROUP:
        return "per sample"
    article = "an" if form.key == "item" else "a"
    return f"{article} {form.key} dictionary" if form.key is not None else f"a {form.kind} group"


def _setting(form: Form) -> str:
    """As features.toml says it."""
    if form.kind == SAMPLE_GROUP:
        return "group sample"
    return f"kind {form.kind}" if form.key is None else f"kind {form.kind}, key {form.key}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"
