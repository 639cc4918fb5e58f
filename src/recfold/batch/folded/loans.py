"""Copies that stand in for views: where torch gives a view of a tensor, a Folded tensor may have had to copy.

Writing to one of two such tensors would be seen in the other; here it is refused, so that it is never a wrong number.
"""

import weakref
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from recfold.spec import InputError

Geometry = tuple[torch.Size, tuple[int, ...], Any]
"""Sizes, strides, offset."""


class Loans:
    """What was copied from one tensor in a view's stead, as long as it is in use."""

    __slots__ = ("_copies", "_wholes")

    def __init__(self) -> None:
        self._copies: list[tuple[weakref.ref[Tensor], int]] = []
        self._wholes: dict[Hashable, tuple[weakref.ref[Tensor], Geometry]] = {}

    def lend(self, copy: Tensor, whole: Tensor | None = None, key: Hashable = None) -> None:
        """Remember a copy: by what it is a view of, which lives as long as any view.

        Args:
            whole: what the copy is a view of.
            key: what `whole` stands for.
        """
        copy = copy._base if copy._base is not None else copy
        self._copies = [known for known in self._copies if known[0]() is not None]
        self._copies.append((weakref.ref(copy), _version(copy)))
        if whole is not None:
            memory = whole._base if whole._base is not None else whole
            geometry = (whole.size(), whole.stride(), whole.storage_offset())
            self._wholes[(key, torch.is_grad_enabled())] = (weakref.ref(memory), geometry)

    def any(self) -> bool:
        """Whether anything was lent."""
        return bool(self._copies)

    def find(self, key: Hashable) -> Tensor | None:
        """The copy that was lent under this key, where views of it are in use."""
        reference, geometry = self._wholes.get((key, torch.is_grad_enabled()), (None, None))
        memory = None if reference is None else reference()
        if memory is None or geometry is None:
            return None
        own = (memory.size(), memory.stride(), memory.storage_offset())
        return memory if own == geometry else memory.as_strided(*geometry)

    def check_reading(self) -> None:
        """No copy was written to.

        Raises:
            InputError: one was.
        """
        for reference, version in self._copies:
            copy = reference()
            if copy is not None and _version(copy) != version:
                raise InputError(
                    "a tensor taken out of a folded one was changed in place, which the folded one does not see",
                    todo="call .unfold() on the folded tensor before taking a view of it, or change it out of place",
                )

    def check_writing(self) -> None:
        """No copy is in use.

        Raises:
            InputError: one is: it would not see what is written.
        """
        if any(reference() is not None for reference, _ in self._copies):
            raise InputError(
                "a folded tensor is changed in place while what was taken out of it is in use",
                todo="call .unfold() on the folded tensor before taking a view of it, or change it out of place",
            )


_BY_STORAGE: dict[int, tuple[StorageWeakRef, Loans]] = {}
"""What was lent from the values of Folded tensors, as long as their memory is in use: views of one share it."""


def loans_of(values: Tensor) -> Loans:
    """The loans of values and of all views of them; new ones where there are none."""
    storage = values.untyped_storage()
    found = _BY_STORAGE.get(storage._cdata)
    if found is not None:
        return found[1]
    for key in [key for key, (memory, _) in _BY_STORAGE.items() if memory.expired()]:
        del _BY_STORAGE[key]
    loans = Loans()
    _BY_STORAGE[storage._cdata] = (StorageWeakRef(storage), loans)
    return loans


def known_loans(values: Tensor) -> Loans | None:
    """The loans of values and of all views of them, if there are any."""
    if not _BY_STORAGE:
        return None
    found = _BY_STORAGE.get(values.untyped_storage()._cdata)
    return None if found is None else found[1]


def check_reading(values: Tensor) -> None:
    """See `Loans.check_reading`."""
    if (found := known_loans(values)) is not None:
        found.check_reading()


def check_writing(values: Tensor) -> None:
    """See `Loans.check_writing`."""
    if (found := known_loans(values)) is not None:
        found.check_writing()


def share_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are views of the same memory."""
    if one.device.type == "meta" or one.layout is not torch.strided or other.layout is not torch.strided:
        return False
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)


def _version(tensor: Any) -> int:
    return 0 if tensor.is_inference() else tensor._version
