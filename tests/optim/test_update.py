"""One conformance test for every member of `SPARSE_OPTIMIZERS`: a new rule is tested by being added."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recfold.optim import (
    SPARSE_OPTIMIZERS,
    Joined,
    UpdateSettings,
    find_touched,
    new_state,
    sparse_optimizer,
    update,
    update_rows_,
    update_touched_,
)
from recfold.optim.touched import sum_rows_reference
from recfold.optim.update import update_rows_reference_
from recfold.spec import InputError

ROWS = torch.tensor([0, 3, 4])
TOLERANCE = {
    torch.float64: (1e-13, 1e-13),
    torch.float32: (1e-6, 1e-6),
    torch.float16: (1e-3, 1e-4),
    torch.bfloat16: (8e-3, 1e-3),
}


def trained(name: str, settings: UpdateSettings, dtype: torch.dtype, update_: object = update_rows_) -> list[Tensor]:
    """Weight and what the rule keeps after four updates of three of six rows."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 5, generator=generator).to(dtype)
    optimizer = SPARSE_OPTIMIZERS[name]
    state = new_state(optimizer, weight)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for _ in range(4):
        grads = torch.randn(3, 5, generator=generator).to(wide)
        update_(weight, state, ROWS, grads, optimizer, settings)  # type: ignore[operator]
    return [weight, *state.values()]


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_the_reference(name: str, dtype: torch.dtype, weight_decay: float) -> None:
    settings = UpdateSettings(learning_rate=0.1, eps=1e-3, weight_decay=weight_decay)
    relative, absolute = TOLERANCE[dtype]
    for fast, slow in zip(
        trained(name, settings, dtype), trained(name, settings, dtype, update_rows_reference_), strict=True
    ):
        assert fast.dtype == slow.dtype
        torch.testing.assert_close(fast, slow, rtol=relative, atol=absolute)


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_only_touched_rows_change(name: str) -> None:
    weight, *states = trained(name, UpdateSettings(learning_rate=0.1, weight_decay=0.1), torch.float32)
    start = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    assert (weight != start).any(1).tolist() == [True, False, False, True, True, False]
    for kept in states:
        if kept.dim():
            assert (kept.reshape(6, -1) != 0).any(1).tolist() == [True, False, False, True, True, False]
        else:
            assert kept == 4  # updates of the table


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
@pytest.mark.parametrize("option", UpdateSettings.model_fields)
def test_each_option_that_a_rule_looks_at_changes_weights_and_no_other(name: str, option: str) -> None:
    plain = UpdateSettings(learning_rate=0.1)
    changed = plain.updated({option: 0.5}, "test")
    same = torch.equal(trained(name, plain, torch.float32)[0], trained(name, changed, torch.float32)[0])
    assert same == (option not in SPARSE_OPTIMIZERS[name].options)


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_a_state_is_what_the_rule_says(name: str) -> None:
    weight = torch.zeros(3, 2, dtype=torch.bfloat16)
    state = new_state(SPARSE_OPTIMIZERS[name], weight)
    expected = {"rows": ((3,), torch.float32), "entries": ((3, 2), torch.float32), "table": ((), torch.int64)}
    assert {n: (tuple(t.shape), t.dtype) for n, t in state.items()} == {
        n: expected[of] for n, of in SPARSE_OPTIMIZERS[name].state.items()
    }
    assert not any(tensor.any() for tensor in state.values())


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_half_rows_are_rounded_to_nearest_once(name: str) -> None:
    settings = UpdateSettings(learning_rate=0.1)
    start = torch.tensor([[1.0, 2.0]])
    half, full = start.half(), start.clone()
    for weight in (half, full):
        optimizer = SPARSE_OPTIMIZERS[name]
        update_rows_(
            weight, new_state(optimizer, weight), torch.tensor([0]), torch.tensor([[0.3, 0.4]]), optimizer, settings
        )
    assert torch.equal(half, full.half())


@pytest.mark.parametrize("name", ["adagrad", "rowwise_adagrad", "adam"])
def test_a_gradient_of_zero_changes_nothing(name: str) -> None:
    weight = torch.ones(1, 4)
    optimizer = SPARSE_OPTIMIZERS[name]
    state = new_state(optimizer, weight)
    update_rows_(weight, state, torch.tensor([0]), torch.zeros(1, 4), optimizer, UpdateSettings(learning_rate=0.1))
    assert torch.equal(weight, torch.ones(1, 4))


DENSE_TWINS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, weight_decay=0.01),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1, eps=1e-3, weight_decay=0.01),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, betas=(0.7, 0.8), eps=1e-3, weight_decay=0.01),
}


@pytest.mark.parametrize("name", DENSE_TWINS)
def test_with_every_row_touched_the_rule_is_that_of_torch(name: str) -> None:
    settings = UpdateSettings(learning_rate=0.1, eps=1e-3, weight_decay=0.01, beta1=0.7, beta2=0.8)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    dense = weight.clone().requires_grad_()
    twin = DENSE_TWINS[name]([dense])
    optimizer = SPARSE_OPTIMIZERS[name]
    state = new_state(optimizer, weight)
    for _ in range(5):
        grads = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        dense.grad = grads.clone()
        twin.step()
        update_rows_(weight, state, torch.arange(3), grads, optimizer, settings)
    torch.testing.assert_close(weight, dense.detach(), rtol=1e-13, atol=1e-13)


def test_adam_on_touched_rows_is_sparse_adam_of_torch() -> None:
    """Which adds eps before it corrects the root: they agree where eps is nothing."""
    settings = UpdateSettings(learning_rate=0.1, eps=1e-30)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    twin_weight = weight.clone().requires_grad_()
    twin = torch.optim.SparseAdam([twin_weight], lr=0.1, eps=1e-30)
    state = new_state(SPARSE_OPTIMIZERS["adam"], weight)
    for _ in range(5):
        rows = torch.randperm(6, generator=generator)[:3].sort().values
        grads = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        twin_weight.grad = torch.sparse_coo_tensor(rows[None], grads.clone(), (6, 4), check_invariants=True)
        twin.step()
        update_rows_(weight, state, rows, grads, SPARSE_OPTIMIZERS["adam"], settings)
    torch.testing.assert_close(weight, twin_weight.detach(), rtol=1e-12, atol=1e-13)
    assert state["step"] == 5


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("dim", [4, 3])  # rows that are copied sixteen bytes at a time, and rows that are not
def test_blocks_of_touched_rows_equal_the_reference(
    name: str, dtype: torch.dtype, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "BLOCK_BYTES", 100)  # a few rows
    generator = torch.Generator().manual_seed(2)
    settings = UpdateSettings(learning_rate=0.1, eps=1e-3, weight_decay=0.1)
    optimizer, wide = SPARSE_OPTIMIZERS[name], torch.float64 if dtype == torch.float64 else torch.float32
    values, offsets = torch.randint(0, 50, (300,), generator=generator), torch.arange(101) * 3
    weights = torch.rand(300, generator=generator).to(wide)
    fast = torch.randn(50, dim, generator=generator).to(dtype)
    slow, fast_state, slow_state = fast.clone(), new_state(optimizer, fast), new_state(optimizer, fast)
    (touched,) = find_touched([Joined(values, offsets, weights)], [50])
    for _ in range(3):
        grad_ND = torch.randn(100, dim, generator=generator).to(wide)
        update_touched_(fast, fast_state, touched, grad_ND, optimizer, settings)
        rows, grads = sum_rows_reference(grad_ND, values, offsets, weights)
        update_rows_reference_(slow, slow_state, rows, grads, optimizer, settings)
    relative, absolute = TOLERANCE[dtype]
    for found, expected in zip([fast, *fast_state.values()], [slow, *slow_state.values()], strict=True):
        torch.testing.assert_close(found, expected, rtol=10 * relative, atol=10 * absolute)


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_bits_do_not_depend_on_the_number_of_threads(name: str, threads: list[int]) -> None:
    found = []
    for count in threads:
        torch.set_num_threads(count)
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(30_000, 12, generator=generator)
        grads = torch.randn(20_000, 12, generator=generator)
        optimizer = SPARSE_OPTIMIZERS[name]
        state = new_state(optimizer, weight)
        update_rows_(
            weight, state, torch.arange(20_000), grads, optimizer, UpdateSettings(learning_rate=0.1, weight_decay=0.1)
        )
        found.append(weight)
    assert all(torch.equal(weight, found[0]) for weight in found)


def test_a_wrong_name_answers_with_the_right_ones() -> None:
    with pytest.raises(InputError) as error:
        sparse_optimizer("adagrat")
    assert str(error.value) == (
        "unknown sparse optimizer 'adagrat'; expected one of adagrad, adam, rowwise_adagrad, sgd; "
        "did you mean 'adagrad'?"
    )
