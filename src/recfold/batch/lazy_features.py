"""Features that are made when the first of them is asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class LazyFeatures(Mapping[str, T], Generic[T]):
    """A mapping whose names are known and whose values are not there yet: rows that travel between ranks.

    Args:
        names: of the features.
        make: gives all of them; it is called once, at the first look at any value.

    Example:
        >>> found = LazyFeatures(("a", "b"), lambda: {"a": 1, "b": 2})
        >>> len(found), found.is_made, found["b"], found.is_made
        (2, False, 2, True)
    """

    def __init__(self, names: tuple[str, ...], make: Callable[[], Mapping[str, T]]) -> None:
        self._names, self._make = names, make
        self._made: Mapping[str, T] | None = None

    @property
    def is_made(self) -> bool:
        """Whether the values are there."""
        return self._made is not None

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        if self._made is None:
            self._made = self._make()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
