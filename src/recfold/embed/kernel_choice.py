"""Which kernel serves a table, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, get_args

import torch

from recfold.embed.fbgemm_kernel import FBGEMM_OPTIMIZERS, fbgemm_module
from recfold.embed.resolved_table import ResolvedTable
from recfold.spec import InputError, unknown

KernelName = Literal["auto", "fbgemm", "torch"]


@dataclass(frozen=True)
class KernelChoice:
    """The kernel of every table.

    Args:
        kernels: table -> `fbgemm` or `torch`.
        reasons: table -> why.
        module: FBGEMM's, where a table is served by it.
    """

    kernels: dict[str, Literal["fbgemm", "torch"]]
    reasons: dict[str, str]
    module: ModuleType | None

    def notes(self) -> tuple[str, ...]:
        """One line per kernel and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for table, kernel in self.kernels.items():
            found.setdefault((kernel, self.reasons[table]), []).append(table)
        return tuple(f"{kernel} serves {_listed(names)}: {reason}" for (kernel, reason), names in found.items())


def choose_kernels(tables: Sequence[ResolvedTable], kernel: str, device: torch.device) -> KernelChoice:
    """Choose; `auto` takes FBGEMM for every table that it serves exactly.

    Raises:
        InputError: `fbgemm` was asked for and cannot serve a table; or an unknown kernel.
    """
    if kernel not in get_args(KernelName):
        raise unknown("kernel", kernel, get_args(KernelName))
    if kernel == "torch":
        return KernelChoice(
            {table.name: "torch" for table in tables}, {table.name: "asked for" for table in tables}, None
        )
    kernels: dict[str, Literal["fbgemm", "torch"]] = {}
    reasons: dict[str, str] = {}
    module: ModuleType | None = None
    for table in tables:
        why_not = _unsupported(table, device)
        if not why_not:
            module, why_not = fbgemm_module()
        if why_not and kernel == "fbgemm":
            raise InputError(
                f"kernel fbgemm cannot serve table {table.name!r}",
                got=why_not,
                todo="use kernel auto or torch",
            )
        kernels[table.name] = "torch" if why_not else "fbgemm"
        reasons[table.name] = why_not or "its CPU op does all that they ask exactly"
    return KernelChoice(kernels, reasons, module)


def _unsupported(table: ResolvedTable, device: torch.device) -> str:
    """Why FBGEMM does not serve a table exactly, or ""."""
    if device.type != "cpu":
        return f"device {device}; fbgemm is used on a CPU only"
    if table.optimizer.name not in FBGEMM_OPTIMIZERS:
        return f"{table.optimizer.name}, which FBGEMM's CPU op does not have"
    if table.settings.weight_decay > 0:
        return f"weight_decay {table.settings.weight_decay:g}, which FBGEMM's CPU op silently ignores"
    if table.dtype not in (torch.float32, torch.float16):
        return f"{str(table.dtype).removeprefix('torch.')} rows; FBGEMM's CPU op trains float32 and float16"
    if table.dim % 4:
        return f"dim {table.dim}; FBGEMM's CPU op needs a multiple of 4"
    return ""


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most]) + (", ..." if len(names) > most else "")
    return f"table {shown}" if len(names) == 1 else f"{len(names)} tables ({shown})"
