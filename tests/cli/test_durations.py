"""Durations on the command line."""

import pytest

from recfold.cli.durations import seconds
from recfold.spec import InputError


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("1.5m", 90), ("24h", 86400), ("2d", 172800)])
def test_units(text: str, expected: float) -> None:
    assert seconds(text, "--window") == expected


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "0s", "3 weeks"])
def test_anything_else_is_one_clear_line(text: str) -> None:
    with pytest.raises(InputError, match=r"--window '.*' is not a duration.*write 30m"):
        seconds(text, "--window")
