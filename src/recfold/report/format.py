"""Numbers as a reader likes them; an unknown one is a dash."""

import math

UNKNOWN = "–"


def count(value: float | None) -> str:
    """A whole number with thousands separated.

    >>> count(583054), count(None)
    ('583,054', '–')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.0f}"


def size(num_bytes: float | None) -> str:
    """Bytes in the largest decimal unit that keeps a digit before the point.

    >>> size(999), size(1_500), size(2_340_000_000), size(None)
    ('999 B', '1.5 kB', '2.3 GB', '–')
    """
    if num_bytes is None:
        return UNKNOWN
    amount, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if amount < 999.5 if unit == "B" else amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def factor(value: float | None) -> str:
    """A ratio, with two digits below ten.

    >>> factor(1.153), factor(12.64), factor(4000.0), factor(None)
    ('1.15×', '12.6×', '4,000×', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}×"


def metric(value: float | None) -> str:
    """A score with four digits.

    >>> metric(0.79614), metric(float("nan"))
    ('0.7961', '–')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.4f}"


def difference(value: float | None) -> str:
    """A signed difference of two scores.

    >>> difference(0.01234), difference(-0.5)
    ('+0.0123', '−0.5000')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:+.4f}".replace("-", "−")


def shorten(name: str, length: int = 28) -> str:
    """A name for the axis of a plot: one line that can be printed, its middle left out where it is long.

    >>> shorten("a_very_long_feature_name_that_goes_on", 16)
    'a_very_…_goes_on'
    """
    line = printable(" ".join(name.split())) or repr(name)
    if len(line) <= length:
        return line
    tail = length // 2
    return f"{line[: length - tail - 1]}…{line[-tail:]}"


def printable(text: str) -> str:
    """The text with a mark for each letter that SVG cannot hold or a reader cannot see.

    >>> printable("a\\x00b")
    'a\ufffdb'
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def plural(number: int, noun: str) -> str:
    """
    >>> plural(1, "feature"), plural(2_000, "feature")
    ('1 feature', '2,000 features')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
