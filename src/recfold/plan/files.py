"""Plans as files, and files that are there whole or not at all."""

import os
from pathlib import Path

from recfold.spec import InputError, Plan


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read plan {path}", got=str(error), todo="write it with `recfold plan`") from None
    return Plan.from_json(text, str(path))


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan, whole or not at all.

    Raises:
        InputError: the disk refuses.
    """
    write_whole(path, plan.to_json(), "plan ")


def write_whole(path: Path, text: str, noun: str = "") -> None:
    """Write a file whole or not at all; its folder is made.

    Args:
        noun: before the path where it cannot be written.
    Raises:
        InputError: the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {noun}{path}", got=str(error)) from None
