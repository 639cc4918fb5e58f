from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from recfold.embed import Bags, EmbeddingTables
from recfold.embed.fbgemm_kernel import fbgemm_module, probe
from recfold.spec import Read, TableSpec

needs_fbgemm = pytest.mark.skipif(fbgemm_module()[0] is None, reason=fbgemm_module()[1] or "FBGEMM serves")
PAIR = "torch 2.13 goes with fbgemm-gpu-cpu 1.8"


def raises(error: Exception) -> Any:
    def import_module(name: str) -> ModuleType:
        raise error

    return import_module


def test_fbgemm_that_is_not_installed_is_said() -> None:
    assert probe(raises(AssertionError()), None, "2.13.0") == (None, "FBGEMM is not installed")


@pytest.mark.parametrize(
    "torch_version, version", [("2.12.1+cpu", "1.8.0"), ("2.13.0", "1.7.0"), ("2.11.0+cu128", "1.8.0")]
)
def test_a_known_mismatch_is_not_even_loaded(torch_version: str, version: str) -> None:
    module, why = probe(raises(AssertionError("loaded")), ("fbgemm-gpu-cpu", version), torch_version)
    assert module is None
    assert why == f"fbgemm-gpu-cpu {version} does not work with torch {torch_version}; {PAIR}"


@pytest.mark.parametrize(
    "error, shown",
    [
        (ImportError("no lookup_args\nmore"), "ImportError: no lookup_args"),
        (OSError("undefined symbol: _ZN3c10"), "OSError: undefined symbol: _ZN3c10"),
        (AttributeError("'_OpNamespace' 'fbgemm' object has no attribute 'x'"), "AttributeError: '_OpNamespace' 'fbg"),
        (RuntimeError(), "RuntimeError: "),
    ],
)
def test_a_failing_import_is_one_line_that_names_the_pair_that_works(error: Exception, shown: str) -> None:
    module, why = probe(raises(error), ("fbgemm-gpu", "2026.1.1"), "2.13.0")
    assert module is None
    assert why.startswith(f"fbgemm-gpu 2026.1.1 does not work with torch 2.13.0 ({shown}")
    assert why.endswith(f"); {PAIR}")
    assert "\n" not in why


def test_a_trial_lookup_with_wrong_numbers_is_a_mismatch() -> None:
    class Wrong:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.weight = torch.zeros(2, 4)

        def split_embedding_weights(self) -> list[torch.Tensor]:
            return [self.weight]

        def __call__(self, *args: Any) -> torch.Tensor:
            return torch.zeros(1, 4, requires_grad=True)

    module: Any = SimpleNamespace(
        SplitTableBatchedEmbeddingBagsCodegen=Wrong,
        EmbeddingLocation=SimpleNamespace(HOST=0),
        ComputeDevice=SimpleNamespace(CPU=0),
        OptimType=SimpleNamespace(EXACT_SGD=0),
    )
    found, why = probe(lambda name: module, ("fbgemm-gpu-cpu", "1.8.0"), "2.13.0+cpu")
    assert found is None
    assert "(RuntimeError: a trial lookup gave wrong numbers)" in why


def tables_of(kernel: str, together: dict[str, str]) -> EmbeddingTables:
    """Tables a, b, c with one read each, s and t with one sequence each, d that two features read."""
    modes = {"a": "sum", "b": "mean", "c": "sum", "s": "rows", "t": "rows", "d": "sum", "e": "sum"}
    table_of = {"e": "d"}
    reads = [Read(feature=f, table=table_of.get(f, f), mode=m) for f, m in modes.items()]  # type: ignore[arg-type]
    specs = {
        "a": TableSpec(rows=20, dim=4),
        "b": TableSpec(rows=10, dim=12),
        "c": TableSpec(rows=10, dim=4, learning_rate=0.5),
        "s": TableSpec(rows=10, dim=8),
        "t": TableSpec(rows=10, dim=4),
        "d": TableSpec(rows=10, dim=4),
    }
    return EmbeddingTables(specs, reads, kernel=kernel, together=together)  # type: ignore[arg-type]


TOGETHER = dict.fromkeys("abcstde", "user")


@needs_fbgemm
def test_tables_of_a_group_with_one_read_and_one_rule_share_an_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # with more there are more ops
    ops = [tuple(table.name for table in op.tables) for op in tables_of("fbgemm", TOGETHER)._ops]
    assert ops == [("a", "b"), ("c",), ("s", "t"), ("d",)]
    alone = [tuple(table.name for table in op.tables) for op in tables_of("fbgemm", {})._ops]
    assert alone == [("a",), ("b",), ("c",), ("s",), ("t",), ("d",)]


@needs_fbgemm
@pytest.mark.parametrize("weighted", [False, True])
def test_a_shared_op_gives_the_same_as_tables_alone_and_as_torch(weighted: bool) -> None:
    values, offsets = torch.tensor([7, 9, 4, 7]), torch.tensor([0, 2, 2, 4])
    bags = {feature: Bags(values.flip(0), offsets) for feature in "abcde"}
    bags["b"] = Bags(values, offsets, torch.tensor([1.0, 2.0, 3.0, 4.0]) if weighted else None)
    bags |= {"s": Bags(values, offsets), "t": Bags(values[:1], torch.tensor([0, 1]))}  # unequal sequences
    shared, alone, torch_ = tables_of("fbgemm", TOGETHER), tables_of("fbgemm", {}), tables_of("torch", TOGETHER)
    for _ in range(3):
        for tables in (shared, alone, torch_):
            out = tables(bags)
            assert [tuple(out[f].shape) for f in "abst"] == [(3, 4), (3, 12), (4, 8), (1, 4)]
            sum((rows.square().sum() + rows.sum() for rows in out.values()), torch.zeros(())).backward()
    for name, tensor in shared.state().items():
        assert torch.equal(alone.state()[name], tensor)
        torch.testing.assert_close(torch_.state()[name], tensor, rtol=1e-5, atol=1e-6)
