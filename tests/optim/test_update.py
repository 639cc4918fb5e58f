"""One conformance test for every member of `SPARSE_OPTIMIZERS`: a new rule is tested by being added."""

import pytest
import torch
from torch import Tensor

from recfold.optim import SPARSE_OPTIMIZERS, UpdateSettings, new_sum, sparse_optimizer, update_rows_
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
    """Weight and running sum (if any) after four updates of three of six rows."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 5, generator=generator).to(dtype)
    optimizer = SPARSE_OPTIMIZERS[name]
    running = new_sum(optimizer, weight)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for _ in range(4):
        grads = torch.randn(3, 5, generator=generator).to(wide)
        update_(weight, running, ROWS, grads, optimizer, settings)  # type: ignore[operator]
    return [weight] if running is None else [weight, running]


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
    weight, *sums = trained(name, UpdateSettings(learning_rate=0.1, weight_decay=0.1), torch.float32)
    start = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    assert (weight != start).any(1).tolist() == [True, False, False, True, True, False]
    for running in sums:
        assert (running.reshape(6, -1) != 0).any(1).tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
@pytest.mark.parametrize("option", [{"learning_rate": 0.2}, {"weight_decay": 0.5}, {"eps": 0.5}])
def test_each_option_changes_weights(name: str, option: dict[str, float]) -> None:
    plain = UpdateSettings(learning_rate=0.1)
    changed = plain.updated(option, "test")
    same = torch.equal(trained(name, plain, torch.float32)[0], trained(name, changed, torch.float32)[0])
    assert same == (name == "sgd" and "eps" in option)  # sgd divides by nothing


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_rules_are_pure(name: str) -> None:
    weight, grads = torch.ones(2, 3), torch.full((2, 3), 2.0)
    optimizer = SPARSE_OPTIMIZERS[name]
    running = new_sum(optimizer, weight)
    new_weight, new_running = optimizer.update(weight, running, grads, UpdateSettings(learning_rate=0.1))
    assert torch.equal(weight, torch.ones(2, 3))
    assert torch.equal(grads, torch.full((2, 3), 2.0))
    assert new_weight.shape == weight.shape
    assert (running is None) == (new_running is None)
    if running is not None and new_running is not None:
        assert new_running.shape == running.shape
        assert not running.any()


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_half_rows_are_rounded_to_nearest_once(name: str) -> None:
    settings = UpdateSettings(learning_rate=0.1)
    start = torch.tensor([[1.0, 2.0]])
    half, full = start.half(), start.clone()
    for weight in (half, full):
        optimizer = SPARSE_OPTIMIZERS[name]
        update_rows_(
            weight, new_sum(optimizer, weight), torch.tensor([0]), torch.tensor([[0.3, 0.4]]), optimizer, settings
        )
    assert torch.equal(half, full.half())


@pytest.mark.parametrize("name", ["adagrad", "rowwise_adagrad"])
def test_a_gradient_of_zero_changes_nothing(name: str) -> None:
    weight = torch.ones(1, 4)
    optimizer = SPARSE_OPTIMIZERS[name]
    running = new_sum(optimizer, weight)
    update_rows_(weight, running, torch.tensor([0]), torch.zeros(1, 4), optimizer, UpdateSettings(learning_rate=0.1))
    assert torch.equal(weight, torch.ones(1, 4))


def test_adagrad_is_that_of_torch() -> None:
    """With every row touched, the dense optimizer of torch.optim is a twin too."""
    settings = UpdateSettings(learning_rate=0.1, eps=1e-3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    dense = weight.clone().requires_grad_()
    twin = torch.optim.Adagrad([dense], lr=0.1, eps=1e-3, weight_decay=0.01)
    optimizer = SPARSE_OPTIMIZERS["adagrad"]
    running = new_sum(optimizer, weight)
    for _ in range(3):
        grads = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        update_rows_(weight, running, torch.arange(3), grads, optimizer, settings)
        dense.grad = grads
        twin.step()
    torch.testing.assert_close(weight, dense.detach())


@pytest.mark.parametrize("name", SPARSE_OPTIMIZERS)
def test_bits_do_not_depend_on_the_number_of_threads(name: str, threads: list[int]) -> None:
    found = []
    for count in threads:
        torch.set_num_threads(count)
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(30_000, 12, generator=generator)
        grads = torch.randn(20_000, 12, generator=generator)
        optimizer = SPARSE_OPTIMIZERS[name]
        running = new_sum(optimizer, weight)
        update_rows_(
            weight, running, torch.arange(20_000), grads, optimizer, UpdateSettings(learning_rate=0.1, weight_decay=0.1)
        )
        found.append(weight)
    assert all(torch.equal(weight, found[0]) for weight in found)


def test_a_wrong_name_answers_with_the_right_ones() -> None:
    with pytest.raises(InputError) as error:
        sparse_optimizer("adagrat")
    assert str(error.value) == (
        "unknown sparse optimizer 'adagrat'; expected one of adagrad, rowwise_adagrad, sgd; did you mean 'adagrad'?"
    )
