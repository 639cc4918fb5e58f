from types import ModuleType
from typing import Any

import pytest
import torch

from recfold.embed import kernel_choice
from recfold.embed.kernel_choice import choose_kernels
from recfold.embed.resolved_table import ResolvedTable, resolve_all
from recfold.spec import InputError, TableSpec

CPU = torch.device("cpu")
DEFAULTS: dict[str, Any] = {"optimizer": "adagrad", "learning_rate": 0.1, "eps": 1e-8, "weight_decay": 0.0}


@pytest.fixture
def with_fbgemm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "fbgemm_module", lambda: (ModuleType("fbgemm"), ""))


@pytest.fixture
def without_fbgemm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "fbgemm_module", lambda: (None, "FBGEMM is not installed"))


def table(name: str, override: torch.dtype | None = None, **values: Any) -> ResolvedTable:
    return resolve_all({name: TableSpec(rows=4, **{"dim": 8, **values})}, DEFAULTS, override)[name]


UNSUPPORTED = [
    (table("t", optimizer="adam"), CPU, "adam, which FBGEMM's CPU op does not have"),
    (table("t", weight_decay=0.01), CPU, "weight_decay 0.01, which FBGEMM's CPU op silently ignores"),
    (table("t", dtype="bfloat16"), CPU, "bfloat16 rows; FBGEMM's CPU op trains float32 and float16"),
    (table("t", torch.float64), CPU, "float64 rows; FBGEMM's CPU op trains float32 and float16"),
    (table("t", dim=6), CPU, "dim 6; FBGEMM's CPU op needs a multiple of 4"),
    (table("t"), torch.device("cuda"), "device cuda; fbgemm is used on a CPU only"),
]


@pytest.mark.usefixtures("with_fbgemm")
@pytest.mark.parametrize("own, device, reason", UNSUPPORTED)
def test_auto_takes_torch_for_what_fbgemm_lacks_and_fbgemm_asked_for_is_an_error(
    own: ResolvedTable, device: torch.device, reason: str
) -> None:
    choice = choose_kernels([own, table("plain")] if device == CPU else [own], "auto", device)
    assert choice.kernels["t"] == "torch"
    assert choice.notes()[0] == f"torch serves table 't': {reason}"
    if device == CPU:
        assert choice.kernels["plain"] == "fbgemm"
        assert choice.notes()[1] == "fbgemm serves table 'plain': its CPU op does all that they ask exactly"
    with pytest.raises(InputError) as error:
        choose_kernels([own], "fbgemm", device)
    assert str(error.value) == f"kernel fbgemm cannot serve table 't'; got {reason}; use kernel auto or torch"


@pytest.mark.usefixtures("without_fbgemm")
def test_without_fbgemm_torch_serves_and_says_why() -> None:
    tables = [table(f"t{n}") for n in range(7)]
    choice = choose_kernels(tables, "auto", CPU)
    assert set(choice.kernels.values()) == {"torch"}
    assert choice.notes() == ("torch serves 7 tables ('t0', 't1', 't2', 't3', 't4', ...): FBGEMM is not installed",)
    with pytest.raises(InputError, match="kernel fbgemm cannot serve table 't0'; got FBGEMM is not installed"):
        choose_kernels(tables, "fbgemm", CPU)


def test_torch_can_be_asked_for() -> None:
    choice = choose_kernels([table("t")], "torch", CPU)
    assert choice.kernels == {"t": "torch"}
    assert choice.notes() == ("torch serves table 't': asked for",)


def test_an_unknown_kernel_is_an_error() -> None:
    with pytest.raises(InputError, match=r"unknown kernel 'fbgem'; expected one of .*; did you mean 'fbgemm'\?"):
        choose_kernels([table("t")], "fbgem", CPU)
