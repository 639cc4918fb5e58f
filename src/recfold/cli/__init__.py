"""The command line: one verb a room, in the order of a run."""

from recfold.cli.main import app, main

__all__ = ["app", "main"]
