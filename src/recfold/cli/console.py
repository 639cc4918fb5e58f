"""Where verbs print: results to standard output, progress and errors to standard error."""

import sys
from typing import TextIO

from rich.console import Console

PLAIN_WIDTH = 140


def _console(stream: TextIO, stderr: bool) -> Console:
    # a pipe has no width of its own; do not cut tables for it
    return Console(stderr=stderr, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=False)


def output() -> Console:
    """The console of results."""
    return _console(sys.stdout, stderr=False)


def errors() -> Console:
    """The console of progress and errors."""
    return _console(sys.stderr, stderr=True)
