"""The full counts that `make test` has no time for: every combination of settings, thousands of random logs."""

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

import recfold
from recfold.checkpoint import latest, load
from recfold.table import FoldedTable
from recfold.train import RunSettings

WAYS = ("on", "lookups", "off")
WORKERS = (0, 1, 2)
WITHIN = {"torch": 1e-10, "fbgemm": 1e-3}


def trained_weights(table: FoldedTable, out: Path, run: RunSettings) -> dict[str, Tensor]:
    result = recfold.train(table, out, settings=run)
    assert result.ended == "finished"
    assert result.evaluation is not None
    found = latest(out)
    assert found is not None
    state = load(found.path)
    return {**state["model"], **state["tables"]}


def farthest(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Largest difference of two states, relative to the largest entry of each tensor."""
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-300)) for n in a if a[n].numel())


@pytest.mark.soak
@pytest.mark.parametrize("order", ["time", "shuffle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad"])
@pytest.mark.parametrize("kernel", ["torch", "fbgemm"])
@pytest.mark.parametrize("model", ["dlrm", "sequence"])
def test_every_combination_finishes_and_agrees(
    own_table: FoldedTable,
    settings: Callable[..., RunSettings],
    tmp_path: Path,
    model: str,
    kernel: str,
    optimizer: str,
    order: str,
) -> None:
    """Workers change no bit; ways agree to rounding (float64 on the torch kernel, float32 on FBGEMM)."""
    if kernel == "fbgemm":
        pytest.importorskip("fbgemm_gpu", reason="the fbgemm kernel is not installed")
    found: dict[tuple[str, int], dict[str, Tensor]] = {}
    for way, workers in itertools.product(WAYS, WORKERS):
        run = settings(
            f"model.name={model}",
            f"tables.kernel={kernel}",
            f"tables.optimizer={optimizer}",
            f"train.order={order}",
            f"train.fold={way}",
            f"train.dtype={'float64' if kernel == 'torch' else 'float32'}",
            f"reader.workers={workers}",
            "train.max_steps=4",
            "train.dense.name=SGD",
            'model.options={"bottom": [4], "top": [8]}',
        )
        found[way, workers] = trained_weights(own_table, tmp_path / f"{way}-{workers}", run)
    for way, workers in found:
        assert all(torch.equal(found[way, 0][name], tensor) for name, tensor in found[way, workers].items())
    for way in ("on", "lookups"):
        assert farthest(found["off", 0], found[way, 0]) <= WITHIN[kernel]


def neighbour(name: str) -> ModuleType:
    """A module of the tests of the fold."""
    path = Path(__file__).parents[1] / "fold" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"fold_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their own module
    spec.loader.exec_module(module)
    return module


@pytest.mark.soak
def test_fold_equals_its_slow_twin_two_thousand_times() -> None:
    """The property of tests/fold/test_reference.py, with more examples."""
    reference, logs_of = neighbour("test_reference"), neighbour("conftest").Logs
    fractions = st.sampled_from([0.0, 0.1, 0.5])
    units = st.sampled_from(["session", "request", "user"])

    @examples(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    @given(drawn=reference.any_logs(), by=units, fraction=fractions)
    def check(drawn: dict[str, Any], by: str, fraction: float) -> None:
        reference.test_fold_equals_its_slow_twin.hypothesis.inner_test(logs_of, drawn, by, fraction)

    check()
