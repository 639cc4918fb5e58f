"""Pass 1 on more than one core: Arrow works outside of Python's lock, so threads are enough."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from recfold.spec import num_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; the next one is made while the one before is worked on.

    >>> list(ahead(iter([1, 2, 3])))
    [1, 2, 3]
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work` of every item, several at a time, in their order.

    >>> each(abs, [-1, 2])
    [1, 2]
    """
    if num_cpus() == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(num_cpus()) as threads:
        return list(threads.map(work, items))
