"""FBGEMM's table-batched op on a CPU: several tables looked up and updated in one call."""

import functools
import importlib
import itertools
import re
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from recfold.embed.huge_pages import use_huge_pages_
from recfold.embed.quiet import quiet
from recfold.embed.resolved_table import ResolvedTable
from recfold.embed.shared_storage import SharedStorage, UntouchedMemory
from recfold.optim import Joined, State

MODULE = "fbgemm_gpu.split_table_batched_embeddings_ops_training"
DISTRIBUTIONS = ("fbgemm-gpu-cpu", "fbgemm-gpu")
GOES_WITH = {"2.11": "1.6", "2.12": "1.7", "2.13": "1.8"}  # torch -> FBGEMM, as FBGEMM's release page pairs them
FBGEMM_OPTIMIZERS = {  # those that its CPU op has and does exactly
    "sgd": "EXACT_SGD",
    "adagrad": "EXACT_ADAGRAD",
    "rowwise_adagrad": "EXACT_ROWWISE_ADAGRAD",
}
WORKS = "torch 2.13 goes with fbgemm-gpu-cpu 1.8"


class FbgemmKernel:
    """Tables of one dtype and update rule, in one op.

    Rows of half precision are updated in float32 and rounded to nearest (no stochastic rounding).

    Args:
        storage: holds float32 weights, with what is in it, instead of new memory. For measurements.
    """

    name = "fbgemm"

    def __init__(
        self, tables: Sequence[ResolvedTable], module: ModuleType, storage: SharedStorage | None = None
    ) -> None:
        first = tables[0]
        self.tables = tuple(tables)
        self.dims = [table.dim for table in tables]
        place = (module.EmbeddingLocation.HOST, module.ComputeDevice.CPU)
        build = functools.partial(
            module.SplitTableBatchedEmbeddingBagsCodegen,
            [(table.rows, table.dim, *place) for table in tables],
            weights_precision=module.SparseType.FP16 if first.dtype == torch.float16 else module.SparseType.FP32,
            output_dtype=module.SparseType.FP32,
            optimizer=getattr(module.OptimType, FBGEMM_OPTIMIZERS[first.optimizer.name]),
            learning_rate=first.settings.learning_rate,
            eps=first.settings.eps,
            stochastic_rounding=False,
            pooling_mode=module.PoolingMode.SUM,
            bounds_check_mode=module.BoundsCheckMode.NONE,  # ids are checked before any kernel
            device=torch.device("cpu"),
        )
        if storage is None:
            self._op = build()
            _move_to_huge_pages_(self._op.weights_host)
            self._weights: list[Tensor] = [weight.detach() for weight in self._op.split_embedding_weights()]
        else:
            with UntouchedMemory():
                self._op = build()
            self._weights = storage.hold_(self._op, [(table.rows, table.dim) for table in tables])
        # one list a table of what its rule keeps; none at all for sgd
        states = self._op.split_optimizer_states() or [[] for _ in tables]
        self._states: list[State] = [
            {name: tensor.detach() for name, tensor in zip(first.optimizer.state, state, strict=True)}
            for state in states
        ]
        if storage is not None:
            for kept in self._states:
                for tensor in kept.values():
                    tensor.zero_()

    def weights(self) -> list[Tensor]:
        return self._weights

    def states(self) -> list[State]:
        return self._states

    def __call__(self, joined: Sequence[Joined]) -> list[Tensor]:
        """Sums of each bag's rows, [N, D] a table; their backward updates the tables."""
        return self.parts(self.look_up(*batched(joined)), joined)

    def look_up(self, values: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
        """What `batched` gives -> the sums of all tables side by side, [N, all D]."""
        return self._op(values, offsets, weights)

    def parts(self, sums_ND: Tensor, joined: Sequence[Joined]) -> list[Tensor]:
        """Each table's own of the sums of all."""
        if len(joined) == 1:
            return [sums_ND]
        # a slice of everything would cost a copy in its backward
        return [
            part if own.num_bags == len(part) else part[: own.num_bags]
            for part, own in zip(sums_ND.split(self.dims, 1), joined, strict=True)
        ]


def _move_to_huge_pages_(parameter: Tensor) -> None:
    """New memory, zero like the old, which is given back first: never twice the tables."""
    shape, dtype = parameter.shape, parameter.dtype
    parameter.data = torch.empty(0, dtype=dtype)
    moved = torch.empty(shape, dtype=dtype)
    use_huge_pages_(moved)
    parameter.data = moved.zero_()


def batched(joined: Sequence[Joined]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values, offsets [tables * N + 1] and weights of one op; tables with fewer than N bags get empty ones."""
    if len(joined) == 1:
        only = joined[0]
        offsets = torch.arange(only.num_bags + 1) if only.offsets is None else only.offsets
        return only.values, offsets, only.weights
    sizes, num_bags = [len(own.values) for own in joined], max(own.num_bags for own in joined)
    starts = torch.tensor(list(itertools.accumulate(sizes, initial=0)))
    offsets = torch.cat([*(_starts(own, num_bags) for own in joined), starts[-1:]])
    offsets[:-1].view(len(joined), num_bags).add_(starts[:-1, None])
    weights = None
    if any(own.weights is not None for own in joined):
        weights = torch.cat([torch.ones(len(own.values)) if own.weights is None else own.weights for own in joined])
    return torch.cat([own.values for own in joined]), offsets, weights


def _starts(joined: Joined, num_bags: int) -> Tensor:
    """Where each bag of a table begins in its values, [num_bags]; there may be fewer only where a bag is an id."""
    if joined.offsets is None:
        return torch.arange(num_bags).clamp_(max=len(joined.values))
    return joined.offsets[:-1]


@functools.cache
def fbgemm_module() -> tuple[ModuleType | None, str]:
    """FBGEMM's module and "", or None and why it cannot serve; tried once per process."""
    return probe(importlib.import_module, _installed(), torch.__version__)


def probe(
    import_module: Callable[[str], ModuleType], installed: tuple[str, str] | None, torch_version: str
) -> tuple[ModuleType | None, str]:
    """Import FBGEMM and do one lookup and update with it.

    Args:
        installed: its distribution and version; None where there is none.
    Returns:
        The module and "", or None and one line that says why not.
    """
    if installed is None:
        return None, "FBGEMM is not installed"
    name, fbgemm_version = installed
    pair = f"{name} {fbgemm_version} does not work with torch {torch_version}"
    # A library of another torch can crash the process on loading: a known mismatch is not tried.
    release, torch_release = _release(fbgemm_version), _release(torch_version)
    if release in GOES_WITH.values() and GOES_WITH.get(torch_release, release) != release:
        return None, f"{pair}; {WORKS}"
    try:
        with quiet():
            module = import_module(MODULE)
            _try(module)
    except Exception as error:  # whatever a mismatched binary raises: ImportError, OSError, AttributeError, ...
        lines = str(error).strip().splitlines() or [""]
        return None, f"{pair} ({type(error).__name__}: {lines[0]}); {WORKS}"
    return module, ""


def _try(module: Any) -> None:
    """One exact step on a table of ones: each entry of row 1 sees gradient 2."""
    place = (module.EmbeddingLocation.HOST, module.ComputeDevice.CPU)
    op = module.SplitTableBatchedEmbeddingBagsCodegen(
        [(2, 4, *place)],
        optimizer=module.OptimType.EXACT_SGD,
        learning_rate=0.25,
        stochastic_rounding=False,
        device=torch.device("cpu"),
    )
    weight = op.split_embedding_weights()[0].detach().fill_(1.0)
    with torch.enable_grad():
        out = op(torch.tensor([1, 1]), torch.tensor([0, 2]))
        out.sum().backward()
    if out.tolist() != [[2.0] * 4] or weight.tolist() != [[1.0] * 4, [0.5] * 4]:
        raise RuntimeError("a trial lookup gave wrong numbers")


def _installed() -> tuple[str, str] | None:
    for name in DISTRIBUTIONS:
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return None


def _release(full: str) -> str:
    """'2.13' of '2.13.0+cpu'; the whole where it is no ordinary release."""
    found = re.match(r"(\d+\.\d+)\.\d+(\+cpu|\+cu\d+)?$", full)
    return found.group(1) if found else full
