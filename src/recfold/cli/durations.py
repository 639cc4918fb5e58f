"""Durations as people write them: `24h`, `30m`, `90s`, `2d`."""

import re

from recfold.spec import InputError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str, option: str) -> float:
    """Seconds of a duration.

    Raises:
        InputError: it is not a positive number followed by s, m, h or d.

    >>> seconds("30m", "--session-gap")
    1800.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", text)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"{option} {text!r} is not a duration", expected="a number and s, m, h or d", todo="write 30m")
    return float(match[1]) * _SECONDS[match[2]]
