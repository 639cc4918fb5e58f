"""TorchRec, imported where something is made for it or measured against it: nothing else needs it."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from recfold.embed.quiet import quiet
from recfold.spec import InputError


@dataclass(frozen=True)
class TorchRecDistributed:
    """What its sharded models and their plans are made of.

    Args:
        types, plans, utils, collective: torchrec.distributed.types, .sharding_plan, .utils, .collective_utils.
        parallel, sharders: torchrec.distributed.model_parallel, .embeddingbag.
        configs, modules: torchrec.modules.embedding_configs, .embedding_modules.
    """

    types: Any
    plans: Any
    utils: Any
    collective: Any
    parallel: Any
    sharders: Any
    configs: Any
    modules: Any


DISTRIBUTED = ("types", "sharding_plan", "utils", "collective_utils", "model_parallel", "embeddingbag")
EMBEDDINGS = ("embedding_configs", "embedding_modules")


@functools.cache
def torchrec_distributed() -> TorchRecDistributed:
    """Import them, once a process.

    Raises:
        InputError: TorchRec is not installed, or does not load.
    """
    with importing_torchrec():
        names = [f"distributed.{name}" for name in DISTRIBUTED] + [f"modules.{name}" for name in EMBEDDINGS]
        return TorchRecDistributed(*(import_module(f"torchrec.{name}") for name in names))


@contextmanager
def importing_torchrec() -> Iterator[None]:
    """Inside, TorchRec is imported without its warnings.

    Raises:
        InputError: it, or FBGEMM, is not installed, or does not load.
    """
    try:
        with quiet():
            yield
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            "TorchRec is not installed", got=str(error).splitlines()[0], todo="install it with `make peers`"
        ) from None
