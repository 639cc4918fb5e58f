"""Both kernels against dense autograd and a hand-written optimizer: every rule, dtype, way of reading and sharing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recfold.embed import Bags, EmbeddingTables, lookup_reference
from recfold.embed.fbgemm_kernel import FBGEMM_OPTIMIZERS, fbgemm_module
from recfold.optim import SPARSE_OPTIMIZERS, UpdateSettings, new_state
from recfold.optim.update import update_rows_reference_
from recfold.spec import InputError, Read, ReadMode, TableSpec

ROWS, DIM, STEPS = 12, 8, 5
TORCH_DTYPES = {"float32": 1e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 2e-2}
FBGEMM_DTYPES = ("float32", "float16")
MODES: dict[str, tuple[ReadMode, bool]] = {
    "sum": ("sum", False),
    "mean": ("mean", False),
    "rows": ("rows", False),
    "weighted sum": ("sum", True),
    "weighted mean": ("mean", True),
    "weighted rows": ("rows", True),
}
needs_fbgemm = pytest.mark.skipif(fbgemm_module()[0] is None, reason=fbgemm_module()[1] or "FBGEMM serves")
KERNELS = ["torch", pytest.param("fbgemm", marks=needs_fbgemm)]
RULES = [
    *(("torch", dtype, optimizer) for dtype in TORCH_DTYPES for optimizer in SPARSE_OPTIMIZERS),
    *(
        pytest.param("fbgemm", dtype, optimizer, marks=needs_fbgemm)
        for dtype in FBGEMM_DTYPES
        for optimizer in FBGEMM_OPTIMIZERS
    ),
]


OPTIONS = {"learning_rate": 0.3, "eps": 0.5, "weight_decay": 0.2, "beta1": 0.5, "beta2": 0.5}


@dataclass(frozen=True)
class Sharing:
    """Who reads table 'item': features, how many lists each has, and their batch groups."""

    reads: tuple[Read, ...]
    lists: dict[str, int]
    weighted: bool
    together: dict[str, str]


def sharing(name: str, mode: ReadMode, weighted: bool) -> Sharing:
    first = Read(feature="likes", table="item", mode=mode)
    if name == "one read":
        return Sharing((first,), {"likes": 7}, weighted, {"likes": "user"})
    if name == "two features":
        second = Read(feature="views", table="item", mode="sum")
        return Sharing((first, second), {"likes": 5, "views": 5}, weighted, {"likes": "user", "views": "user"})
    second = Read(feature="history", table="item", mode="rows")
    return Sharing((first, second), {"likes": 5, "history": 3}, weighted, {"likes": "user", "history": "window"})


def draw_bags(num_lists: int, weighted: bool, generator: torch.Generator, rows: int = ROWS) -> Bags:
    length = torch.randint(0, 4, (num_lists,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
    values = torch.randint(0, rows, (int(offsets[-1]),), generator=generator)
    return Bags(values, offsets, torch.rand(len(values), generator=generator) + 0.5 if weighted else None)


def loss(out: Mapping[str, Tensor]) -> Tensor:
    """Something with another gradient for every entry."""
    total = torch.zeros(())
    for number, rows in enumerate(out.values()):
        slope = torch.linspace(0.5, 1.5 + number, max(rows.numel(), 1)).to(rows)[: rows.numel()].reshape(rows.shape)
        total = total + (rows * slope).sum() + rows.square().sum()
    return total


class Slow:
    """The slow twin of a table: lookups by dense autograd, updates one entry at a time."""

    def __init__(self, weight: Tensor, reads: Sequence[Read], optimizer: str, rule: UpdateSettings) -> None:
        self.weight, self.reads = weight.clone(), reads
        self.optimizer, self.rule = SPARSE_OPTIMIZERS[optimizer], rule
        self.kept = new_state(self.optimizer, self.weight)

    def step(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        wide = self.weight.to(torch.float64 if self.weight.dtype == torch.float64 else torch.float32, copy=True)
        wide.requires_grad_()
        out = {read.feature: lookup_reference(wide, bags[read.feature], read.mode) for read in self.reads}
        loss(out).backward()
        touched = torch.cat([bags[read.feature].values for read in self.reads]).unique()
        assert wide.grad is not None
        update_rows_reference_(self.weight, self.kept, touched, wide.grad[touched], self.optimizer, self.rule)
        return {feature: rows.detach() for feature, rows in out.items()}

    def state(self) -> dict[str, Tensor]:
        return {"item.weight": self.weight, **{f"item.{name}": tensor for name, tensor in self.kept.items()}}


def build(kernel: str, dtype: str, own: Sharing, **options: Any) -> EmbeddingTables:
    tables = {"item": TableSpec(rows=ROWS, dim=DIM, dtype=dtype)}  # type: ignore[arg-type]
    options = {"learning_rate": 0.1, "eps": 1e-6, **options}
    return EmbeddingTables(tables, own.reads, kernel=kernel, together=own.together, **options)  # type: ignore[arg-type]


def assert_states_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        torch.testing.assert_close(
            found[name], tensor, rtol=10 * tolerance, atol=tolerance, msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("kernel, dtype, optimizer", RULES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", ["one read", "two features", "pooled and rows"])
def test_equals_the_slow_twin(optimizer: str, kernel: str, dtype: str, mode: str, shared: str) -> None:
    own = sharing(shared, *MODES[mode])
    tables = build(kernel, dtype, own, optimizer=optimizer)
    assert tables.kernels() == {"item": kernel}
    slow = Slow(tables.state()["item.weight"], own.reads, optimizer, UpdateSettings(learning_rate=0.1, eps=1e-6))
    generator = torch.Generator().manual_seed(3)
    tolerance = TORCH_DTYPES[dtype]
    for step in range(STEPS):
        weighted = own.weighted and step != 2  # a batch may lack weights
        bags = {
            feature: draw_bags(lists, weighted and feature == "likes", generator)
            for feature, lists in own.lists.items()
        }
        out, expected = tables(bags), slow.step(bags)
        for feature, rows in expected.items():
            torch.testing.assert_close(out[feature].detach(), rows, rtol=10 * tolerance, atol=10 * tolerance)
        loss(out).backward()
    assert_states_close(tables.state(), slow.state(), tolerance)


@pytest.mark.parametrize("kernel, dtype, optimizer", RULES)
@pytest.mark.parametrize("where", ["default", "spec"])
@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_changes_weights_as_it_says(
    kernel: str, dtype: str, optimizer: str, where: str, option: str
) -> None:
    plain: dict[str, float] = {"learning_rate": 0.1, "eps": 1e-3, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999}
    reads = (Read(feature="likes", table="item", mode="sum"),)
    generator = torch.Generator().manual_seed(5)
    batches = [{"likes": draw_bags(7, False, generator)} for _ in range(3)]
    states = []
    for changed in ({}, {option: OPTIONS[option]}):
        spec = TableSpec(rows=ROWS, dim=DIM, dtype=dtype, **(changed if where == "spec" else {}))  # type: ignore[arg-type]
        values = {**plain, **(changed if where == "default" else {})}
        if kernel == "fbgemm" and "weight_decay" in changed:
            with pytest.raises(InputError, match="which FBGEMM's CPU op silently ignores"):
                EmbeddingTables({"item": spec}, reads, kernel="fbgemm", optimizer=optimizer, **values)  # type: ignore[arg-type]
            return
        tables = EmbeddingTables({"item": spec}, reads, kernel=kernel, optimizer=optimizer, **values)  # type: ignore[arg-type]
        slow = Slow(tables.state()["item.weight"], reads, optimizer, UpdateSettings(**{**plain, **changed}))
        for bags in batches:
            loss(tables(bags)).backward()
            slow.step(bags)
        assert_states_close(tables.state(), slow.state(), TORCH_DTYPES[dtype])
        states.append(tables.state()["item.weight"])
    assert torch.equal(states[0], states[1]) == (option not in SPARSE_OPTIMIZERS[optimizer].options)


def test_every_option_of_an_update_is_tried() -> None:
    assert OPTIONS.keys() == UpdateSettings.model_fields.keys()


@pytest.mark.parametrize("optimizer", SPARSE_OPTIMIZERS)
@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("shared", ["one read", "two features", "pooled and rows"])
def test_weight_decay_equals_the_slow_twin(optimizer: str, dtype: str, shared: str) -> None:
    own = sharing(shared, "mean", True)
    tables = build("torch", dtype, own, optimizer=optimizer, weight_decay=0.2)
    rule = UpdateSettings(learning_rate=0.1, eps=1e-6, weight_decay=0.2)
    slow = Slow(tables.state()["item.weight"], own.reads, optimizer, rule)
    generator = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        bags = {f: draw_bags(lists, f == "likes", generator) for f, lists in own.lists.items()}
        loss(tables(bags)).backward()
        slow.step(bags)
    assert_states_close(tables.state(), slow.state(), TORCH_DTYPES[dtype])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_optimizer_of_a_spec_wins(kernel: str) -> None:
    reads = [Read(feature="a", table="a", mode="sum"), Read(feature="b", table="b", mode="sum")]
    tables = EmbeddingTables(
        {"a": TableSpec(rows=4, dim=4, optimizer="sgd"), "b": TableSpec(rows=4, dim=4)},
        reads,
        kernel=kernel,  # type: ignore[arg-type]
        optimizer="adagrad",
        together={"a": "user", "b": "user"},
    )
    assert {name: tuple(tensor.shape) for name, tensor in tables.state().items()} == {
        "a.weight": (4, 4),
        "b.weight": (4, 4),
        "b.sum": (4, 4),
    }


@needs_fbgemm
@pytest.mark.parametrize("optimizer", FBGEMM_OPTIMIZERS)
@pytest.mark.parametrize("dtype", FBGEMM_DTYPES)
@pytest.mark.parametrize("before, after", [("torch", "fbgemm"), ("fbgemm", "torch")])
def test_a_state_goes_on_in_the_other_kernel(optimizer: str, dtype: str, before: str, after: str) -> None:
    own = sharing("pooled and rows", "mean", False)
    generator = torch.Generator().manual_seed(4)
    batches = [
        {feature: draw_bags(lists, False, generator) for feature, lists in own.lists.items()} for _ in range(STEPS)
    ]
    straight, first = (build(before, dtype, own, optimizer=optimizer) for _ in range(2))
    second = build(after, dtype, own, optimizer=optimizer, seed=99)
    for bags in batches:
        loss(straight(bags)).backward()
    for bags in batches[:2]:
        loss(first(bags)).backward()
    second.load_state(first.state())
    for name, tensor in first.state().items():
        assert torch.equal(second.state()[name], tensor)
    for bags in batches[2:]:
        loss(second(bags)).backward()
    assert_states_close(second.state(), straight.state(), 1e-6 if dtype == "float32" else 2e-3)


@pytest.mark.parametrize("optimizer", SPARSE_OPTIMIZERS)
def test_tables_of_any_dim_dtype_and_rule_share_a_step_and_one_that_the_loss_leaves_out_stays(optimizer: str) -> None:
    """The torch kernel sorts the ids of all tables at once."""
    specs = {
        "a": TableSpec(rows=ROWS, dim=8, weight_decay=0.1),
        "b": TableSpec(rows=5, dim=3, dtype="bfloat16", optimizer="sgd"),
        "c": TableSpec(rows=ROWS, dim=4, dtype="float64"),
        "d": TableSpec(rows=ROWS, dim=8),
    }
    modes: tuple[ReadMode, ...] = ("sum", "mean", "rows", "sum")
    reads = {name: Read(feature=name, table=name, mode=m) for name, m in zip(specs, modes, strict=True)}
    tables = EmbeddingTables(specs, list(reads.values()), kernel="torch", optimizer=optimizer, learning_rate=0.1)
    slow = {}
    for name, spec in specs.items():
        rule = UpdateSettings(learning_rate=0.1, weight_decay=spec.weight_decay or 0.0)
        slow[name] = Slow(tables.state()[f"{name}.weight"], [reads[name]], spec.optimizer or optimizer, rule)
    generator = torch.Generator().manual_seed(3)
    for step in range(STEPS):
        bags = {name: draw_bags(4 + step, False, generator, specs[name].rows or 0) for name in specs}
        out = tables(bags)
        for name in ("a", "b", "c") if step % 2 else specs:
            slow[name].step({name: bags[name]})
        torch.stack([loss({name: out[name]}) for name in (("a", "b", "c") if step % 2 else specs)]).sum().backward()
    for name, own in slow.items():
        found = {key.replace(f"{name}.", "item."): t for key, t in tables.state().items() if key.startswith(f"{name}.")}
        assert_states_close(found, own.state(), 2e-2 if name == "b" else 1e-6)


@st.composite
def any_bags(draw: st.DrawFn) -> Bags:
    lists = draw(st.lists(st.lists(st.integers(0, ROWS - 1), max_size=4), max_size=5))
    values = torch.tensor([value for own in lists for value in own], dtype=torch.int64)
    offsets = torch.tensor([0, *(len(own) for own in lists)]).cumsum(0)
    weights = torch.arange(1.0, len(values) + 1) if draw(st.booleans()) else None
    return Bags(values, offsets, weights)


@pytest.mark.parametrize("kernel", KERNELS)
@given(likes=any_bags(), views=any_bags(), modes=st.tuples(*[st.sampled_from(["sum", "mean", "rows"])] * 2))
@settings(max_examples=40)
def test_any_bags_even_none_equal_the_slow_twin(
    kernel: str, likes: Bags, views: Bags, modes: tuple[ReadMode, ReadMode]
) -> None:
    reads = tuple(Read(feature=f, table="item", mode=m) for f, m in zip(("likes", "views"), modes, strict=True))
    tables = build(kernel, "float32", Sharing(reads, {}, False, {}), optimizer="adagrad")
    slow = Slow(tables.state()["item.weight"], reads, "adagrad", UpdateSettings(learning_rate=0.1, eps=1e-6))
    bags = {"likes": likes, "views": views}
    out, expected = tables(bags), slow.step(bags)
    for feature, rows in expected.items():
        torch.testing.assert_close(out[feature].detach(), rows)
        assert out[feature].requires_grad
    loss(out).backward()
    assert_states_close(tables.state(), slow.state(), 2e-6)


@pytest.mark.parametrize("kernel, dtype, optimizer", RULES)
def test_bits_do_not_depend_on_the_number_of_threads(
    kernel: str, dtype: str, optimizer: str, threads: list[int]
) -> None:
    rows = 2000
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(40_000, generator=generator) ** 4 * rows).long()
    bags = {"likes": Bags(values, torch.arange(8001) * 5, torch.rand(40_000, generator=generator))}
    found = []
    for count in threads:
        torch.set_num_threads(count)
        tables = EmbeddingTables(
            {"item": TableSpec(rows=rows, dim=16, dtype=dtype)},  # type: ignore[arg-type]
            [Read(feature="likes", table="item", mode="mean")],
            kernel=kernel,  # type: ignore[arg-type]
            optimizer=optimizer,
        )
        for _ in range(2):
            loss(tables(bags)).backward()
        found.append(tables.state())
    for state in found[1:]:
        assert all(torch.equal(tensor, found[0][name]) for name, tensor in state.items())
