"""Progress: plain lines where there is no terminal, a bar where there is one."""

import io

from rich.console import Console

from recfold.cli.progress import ShownProgress


def test_without_a_terminal_the_end_is_a_plain_line() -> None:
    stream = io.StringIO()
    with ShownProgress(Console(file=stream, width=100)) as progress:
        progress("train", 1, 3, loss=0.5)
        progress("train", 3, 3, loss=0.25, samples_per_s=1234.0, seconds_left=0.0)
    assert stream.getvalue() == "train: 3 / 3  loss 0.2500  1,234 samples/s  0 s left\n"


def test_on_a_terminal_a_bar_shows_the_figures() -> None:
    stream = io.StringIO()
    with ShownProgress(Console(file=stream, width=100, force_terminal=True)) as progress:
        progress("train", 2, 3, loss=0.5)
        progress("read", 10, None)
    assert "train" in stream.getvalue()
    assert "2/3" in stream.getvalue()
    assert "loss 0.5000" in stream.getvalue()
