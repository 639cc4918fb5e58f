"""Typed, frozen settings: an unknown key or a wrong value is one clear line that names the nearest right key."""

import json
import types
import typing
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recfold.spec.errors import InputError, nearest


class Settings(BaseModel):
    """Base of every noun and every settings object: frozen, keyword-only, no unknown keys.

    Construct with keywords inside the code (pydantic's own errors are then a programmer's errors), and with
    `parse` for what a user wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)

    @classmethod
    def parse(cls, data: object, where: str) -> Self:
        """Validate what a user wrote.

        Args:
            data: usually a dict from TOML or JSON.
            where: what is being read, for the message ("features.toml", "--set").
        Raises:
            InputError: an unknown key (with the nearest right one) or a wrong value, the first of them.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _first_error(cls, error, where) from None

    def updated(self, changes: dict[str, Any], where: str) -> Self:
        """A copy with some keys replaced and validated again; the others stay."""
        return type(self).parse({**self.model_dump(), **changes}, where)


SettingsT = TypeVar("SettingsT", bound=Settings)


def apply_overrides(settings: SettingsT, overrides: list[str], where: str = "--set") -> SettingsT:
    """Apply `a.b=value` strings to nested settings; values are JSON where they parse as JSON, else plain strings.

    Example:
        >>> class Inner(Settings):
        ...     lr: float = 0.1
        >>> class Outer(Settings):
        ...     train: Inner = Inner()
        >>> apply_overrides(Outer(), ["train.lr=0.5"]).train.lr
        0.5

    Raises:
        InputError: no '=', an unknown key, or a value of the wrong type.
    """
    data = settings.model_dump()
    given = set(settings.model_fields_set)
    for text in overrides:
        path, equals, raw = text.partition("=")
        if not equals or not path:
            raise InputError(f"{where} {text!r} is not KEY=VALUE", todo=f"write {where} train.batch_size=8192")
        try:
            value = json.loads(raw)
        except json.JSONDecodeError:
            value = raw
        node: Any = data
        *parents, leaf = path.strip().split(".")
        for parent in parents:
            if not isinstance(node, dict) or not isinstance(node.get(parent), dict):
                guess = nearest(parent, node) if isinstance(node, dict) else None
                raise InputError(
                    f"{where} {text!r}: there is no setting group {parent!r}",
                    expected=f"one of {', '.join(sorted(node))}" if isinstance(node, dict) else None,
                    todo=f"did you mean {guess!r}?" if guess else None,
                )
            node = node[parent]
        if not isinstance(node, dict):
            raise InputError(f"{where} {text!r}: {'.'.join(parents)!r} is a value, not a group of settings")
        node[leaf] = value
        given.add((*parents, leaf)[0])
    return type(settings).parse({name: value for name, value in data.items() if name in given}, where)


def _first_error(cls: type[BaseModel], error: ValidationError, where: str) -> InputError:
    details = error.errors()[0]
    path = [str(part) for part in details["loc"]]
    shown = ".".join(path) or cls.__name__
    if details["type"] == "extra_forbidden":
        fields = sorted(_fields_at(cls, path[:-1]))
        guess = nearest(path[-1], fields)
        return InputError(
            f"{where}: unknown key {shown!r}",
            expected=f"one of {', '.join(fields)}" if fields else None,
            todo=f"did you mean {guess!r}?" if guess else None,
        )
    if details["type"] == "missing":
        return InputError(f"{where}: {shown!r} is missing", todo="add it")
    message = str(details["msg"]).removeprefix("Value error, ")
    got = None if details["type"] == "value_error" else repr(details.get("input"))[:120]
    return InputError(f"{where}: {shown}: {message}", got=got)


def _fields_at(cls: type[BaseModel], path: list[str]) -> set[str]:
    """Field names of the settings class that `path` leads to (through dicts, tuples, optionals and unions)."""
    current: set[type[BaseModel]] = {cls}
    for part in path:
        found: set[type[BaseModel]] = set()
        for model in current:
            if part in model.model_fields:
                found |= _models_in(model.model_fields[part].annotation)
        # a list index, a dict key or a union tag does not lead to another class
        current = found or current
    return {name for model in current for name in model.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return {annotation} if issubclass(annotation, BaseModel) else set()
    return {model for inner in typing.get_args(annotation) for model in _models_in(inner)}
