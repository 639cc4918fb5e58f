"""What was given on the command line, and what of it would change nothing."""

from collections.abc import Iterable

import typer

from recfold.spec import InputError


def refuse_without_effect(context: typer.Context, names: Iterable[str], why: str, todo: str | None = None) -> None:
    """None of these parameters was given.

    Args:
        names: of the verb's parameters.
        why: they change nothing: `with --check`.
        todo: what to do instead; by default to leave the option out.
    Raises:
        InputError: the first one that was, as the user writes it.
    """
    unwanted = set(names)
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in unwanted and source is not None and source.name == "COMMANDLINE":
            written = parameter.opts[0] if parameter.opts[0].startswith("-") else name.upper()
            raise InputError(f"{written} changes nothing {why}", todo=todo or f"leave {written} out")
