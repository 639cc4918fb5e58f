"""Makes `recfold.fold(...)` work although `recfold.fold` is also the room of that name.

Importing a room binds its module to the package, so a verb that shares the name would be hidden by it. A room that is
named like its verb therefore becomes callable, and calling it calls the verb.
"""

import sys
from types import ModuleType
from typing import Any


class VerbRoom(ModuleType):
    """A room whose module can be called: it passes the call on to the function of its own name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__[self.__name__.rpartition(".")[2]](*args, **kwargs)


def make_callable(room: str) -> None:
    """Let the already imported module `room` be called like the function of the same name inside it."""
    module = sys.modules[room]
    module.__class__ = VerbRoom
    module.__doc__ = f"{module.__doc__}\n\n{getattr(module, room.rpartition('.')[2]).__doc__}"
