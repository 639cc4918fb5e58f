"""Writes docs/cli.md from the command line's own --help; a test compares the two."""

import os
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")


def page() -> str:
    """The text of docs/cli.md."""
    os.environ["COLUMNS"] = "100"
    import typer
    from typer.testing import CliRunner

    from recfold.cli import app

    runner = CliRunner()
    verbs = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        verbs += [name, *(f"{name} {own}" for own in getattr(command, "commands", ()))]
    parts = ["# Command line\n\nMade from `--help` by `make docs`.\n"]
    for verb in ("", *verbs):
        shown = f"recfold {verb}".strip()
        text = runner.invoke(app, [*verb.split(), "--help"], prog_name="recfold").output
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {shown}\n\n```\n{lines}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
