"""TorchRec, imported when a plan is made for it: nothing else here needs it."""

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from recfold.embed.quiet import quiet
from recfold.spec import InputError


@dataclass(frozen=True)
class TorchRecPlans:
    """What its plans are made of.

    Args:
        types: torchrec.distributed.types.
        plans: torchrec.distributed.sharding_plan.
        utils: torchrec.distributed.utils.
        collective: torchrec.distributed.collective_utils.
    """

    types: Any
    plans: Any
    utils: Any
    collective: Any


@functools.cache
def torchrec_plans() -> TorchRecPlans:
    """Import them, once a process.

    Raises:
        InputError: TorchRec is not installed, or does not load.
    """
    try:
        with quiet():
            names = ("types", "sharding_plan", "utils", "collective_utils")
            return TorchRecPlans(*(import_module(f"torchrec.distributed.{name}") for name in names))
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            "TorchRec is not installed", got=str(error).splitlines()[0], todo="install it with `make peers`"
        ) from None
