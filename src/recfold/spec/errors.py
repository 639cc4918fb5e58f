"""The one exception that a user's input can cause; the command line prints it as one line and exits with 1."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that came from outside is wrong: a file, a column, a setting, a shape.

    Args:
        what: what is wrong, in one clause ("table 'big' has no rows").
        got: what was found, if that is not plain from `what`.
        expected: what would have been right.
        todo: what to do about it.

    Example:
        >>> str(InputError("unknown model", got="'dlmr'", expected="dlrm or sequence", todo="did you mean 'dlrm'?"))
        "unknown model; got 'dlmr'; expected dlrm or sequence; did you mean 'dlrm'?"
    """

    def __init__(self, what: str, *, got: object = None, expected: object = None, todo: str | None = None) -> None:
        parts = [what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if todo is not None:
            parts.append(todo)
        super().__init__("; ".join(part.replace("\n", " ") for part in parts))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely means, or None.

    >>> nearest("batch_sise", ["epochs", "batch_size"])
    'batch_size'
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown(noun: str, name: str, names: Iterable[str]) -> InputError:
    """The error for a wrong name of a family: it lists the right ones and guesses which was meant.

    >>> str(unknown("model", "dlmr", ["dlrm", "sequence"]))
    "unknown model 'dlmr'; expected one of dlrm, sequence; did you mean 'dlrm'?"
    """
    known = sorted(names)
    guess = nearest(name, known)
    return InputError(
        f"unknown {noun} {name!r}",
        expected=f"one of {', '.join(known)}" if known else f"no {noun} at all",
        todo=f"did you mean {guess!r}?" if guess else None,
    )
