"""Folded tensors where a training loop puts them: autocast, no_grad, checkpointing, compilation, several processes."""

import copy
import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recfold.batch import Folded, FoldIndex, LazyConcat, TensorLike, plain
from recfold.batch.folded import products
from recfold.model.interaction import dot_interaction
from recfold.spec import InputError

INVERSE = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 2, 0])
SAMPLES, ROWS, WIDTH = len(INVERSE), 4, 8


def index(batch: object = None) -> FoldIndex:
    return FoldIndex(INVERSE, ROWS, batch=batch)


def folded(values: Tensor | None = None) -> Folded:
    return Folded(torch.randn(ROWS, WIDTH) if values is None else values, index())


class Model(nn.Module):
    """One part per distinct row, one per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom, self.norm, self.top = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(2 * WIDTH, 1)

    def forward(self, user: Any, item: Any) -> Any:
        bottom = torch.relu(self.norm(self.bottom(user))) * 2 + user[:, :1]
        return self.top(torch.cat([bottom, item], 1)).squeeze(-1)


def test_autocast_adds_up_in_float32() -> None:
    """As near to the float32 product of rounded operands as bfloat16 can say it: added up once, rounded once."""
    torch.manual_seed(0)
    user, item = torch.randn(ROWS, 512), torch.randn(SAMPLES, 512)
    layer = nn.Linear(1024, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.cat([folded(user), item], 1))
    assert out.dtype == torch.bfloat16
    rounded = torch.cat([user[INVERSE], item], 1).bfloat16().double()
    exact = rounded @ layer.weight.bfloat16().double().T + layer.bias.bfloat16().double()
    assert ((out.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-4).all()


def test_autocast_sums_gradients_in_float32() -> None:
    """4,096 samples of one row, each with gradient 1: a sum in bfloat16 would end at 256."""
    values = torch.ones(1, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        Folded(values, FoldIndex(torch.zeros(4096, dtype=torch.int64), 1)).unfold().sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[4096.0, 4096.0]]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients(context: Callable[[], Any]) -> None:
    model, values, item = Model().eval(), torch.randn(ROWS, WIDTH), torch.randn(SAMPLES, WIDTH)
    with context():
        found, right = model(folded(values), item), model(values[INVERSE], item)
        assert isinstance(model.bottom(folded(values)), Folded)
        user = folded(values)
        user.mul_(2.0)
        assert torch.equal(user.unfold(), values[INVERSE])
    torch.testing.assert_close(found, right)


def test_an_index_first_used_in_inference_mode_trains() -> None:
    fast, slow = index(), FoldIndex(torch.arange(SAMPLES) // 6, 2)

    def loss(user: Tensor, other: Tensor) -> Tensor:
        return (nn.functional.normalize(Folded(user, fast)) + Folded(other, slow)).tanh().sum()

    user, other = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randn(2, WIDTH, requires_grad=True)
    with torch.inference_mode():
        expected = loss(user, other)
    found = loss(user, other)
    found.backward()
    torch.testing.assert_close(found.detach(), expected.clone())
    assert user.grad is not None


def test_pairs_first_chosen_in_inference_mode_train() -> None:
    own = index()
    vectors, item = torch.randn(ROWS, 5, 3, requires_grad=True), torch.randn(SAMPLES, 2, 3, requires_grad=True)
    products._plan.cache_clear()  # of a test before

    def pairs() -> Tensor:
        return plain(dot_interaction(torch.cat([Folded(vectors, own), item], 1)))

    with torch.inference_mode():
        expected = pairs()
    found = pairs()
    found.sum().backward()
    torch.testing.assert_close(found.detach(), expected.clone())
    assert vectors.grad is not None


def test_non_reentrant_checkpointing() -> None:
    model, item = Model(), torch.randn(SAMPLES, WIDTH)
    grads = []
    for way in (checkpoint, lambda own, *given, use_reentrant: own(*given)):
        values = torch.ones(ROWS, WIDTH).cumsum(1).requires_grad_()
        way(copy.deepcopy(model), folded(values), item, use_reentrant=False).sum().backward()
        grads.append(values.grad)
    assert torch.equal(*grads)


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Tensor) -> Any:
        ctx.save_for_backward(weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], grads[0]


class Unfolds(Scaled):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Tensor) -> Any:
        return x.unfold() * weight


@pytest.mark.parametrize("function", [Scaled, Unfolds])
@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad])
def test_custom_autograd_functions_are_refused(function: Any, requires_grad: bool, context: Any) -> None:
    """Without a gradient of their own, too: the weight's would be summed over other rows."""
    x = folded(torch.randn(ROWS, WIDTH, requires_grad=requires_grad))
    with context(), pytest.raises(InputError, match=r"custom autograd.Function .* call .unfold\(\) on its input"):
        function.apply(x, torch.ones(WIDTH, requires_grad=True))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_is_refused() -> None:
    x = folded(torch.randn(ROWS, WIDTH, requires_grad=True))
    with pytest.raises(InputError, match="use_reentrant=False"):
        checkpoint(nn.Linear(WIDTH, 2), x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_scripted_and_traced_modules_are_refused() -> None:
    for module in (torch.jit.script(nn.Linear(WIDTH, 2)), torch.jit.trace(nn.Linear(WIDTH, 2), torch.ones(3, WIDTH))):
        with pytest.raises(InputError, match=r"a scripted module got a Folded tensor.* call .unfold\(\)"):
            module(folded())
    with pytest.raises(RuntimeError, match="Folded"):
        torch.jit.trace(nn.Linear(WIDTH, 2), (folded(),))


def test_gradients_with_respect_to_a_folded_tensor_are_refused() -> None:
    x = folded(torch.randn(ROWS, WIDTH, requires_grad=True) * 1.0)
    with pytest.raises(InputError, match="a gradient with respect to a Folded tensor"):
        torch.autograd.grad((x * 2).sum(), x, allow_unused=True)


def test_compiled_models_give_the_same_and_say_once_that_they_are_not_compiled() -> None:
    torch._dynamo.reset()
    model, item = Model(), torch.randn(SAMPLES, WIDTH)
    plain, compiled = copy.deepcopy(model), torch.compile(model, backend="eager")
    messages: list[str] = []
    for factor in (1.0, 2.0):
        values = torch.ones(ROWS, WIDTH).cumsum(0).requires_grad_()
        twin = values.detach().clone().requires_grad_()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = compiled(folded(values * factor), item)
        messages += [str(told.message) for told in caught if "Folded" in str(told.message)]
        right = plain((twin * factor)[INVERSE], item)
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
        found.sum().backward()
        right.sum().backward()
        torch.testing.assert_close(values.grad, twin.grad, rtol=1e-4, atol=1e-4)
    assert len(messages) == 1
    assert messages[0].startswith("torch.compile leaves operations on Folded tensors uncompiled")
    torch._dynamo.reset()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))])
def test_copies_and_pickles(again: Callable[[Any], Any]) -> None:
    user, item = folded(), torch.randn(SAMPLES, 2)
    stack = torch.stack([user, torch.randn(SAMPLES, WIDTH)], 1)
    for own in (user, torch.cat([user, item], 1), torch.bmm(stack, stack.transpose(1, 2))):
        assert isinstance(own, TensorLike)
        found = again(own)
        assert type(found) is type(own)
        torch.testing.assert_close(found.unfold(), own.unfold())
    assert isinstance(torch.cat([user, item], 1), LazyConcat)


def test_deepcopy_of_what_is_in_a_graph_is_refused_as_for_tensors() -> None:
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(folded(torch.ones(ROWS, WIDTH, requires_grad=True) * 1.0))


MIXING: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "cat": lambda a, b: torch.cat([a, b], 1),
    "stack": lambda a, b: torch.stack([a, b], 1),
    "product": lambda a, b: a @ b.t(),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "bilinear": lambda a, b: nn.Bilinear(WIDTH, WIDTH, 2)(a, b),
    "lazy": lambda a, b: torch.cat([torch.cat([a, torch.ones(SAMPLES, 1)], 1), b], 1),
    "in place": lambda a, b: a.add_(b),
    "no rule": lambda a, b: torch.dist(a, b),
}


@pytest.mark.parametrize("name", MIXING)
def test_two_batches_cannot_be_mixed(name: str) -> None:
    one, other = (Folded(torch.randn(ROWS, WIDTH), index(batch=object())) for _ in range(2))
    with pytest.raises(InputError, match=r"different batches|has another index"):
        MIXING[name](one, other)


def test_wrong_sizes_raise_one_error() -> None:
    other = Folded(torch.randn(2, WIDTH), FoldIndex(torch.tensor([0, 1, 1]), 2))
    wrong: list[Callable[[], Any]] = [
        lambda: nn.Linear(WIDTH + 1, 2)(folded()),
        lambda: nn.Linear(WIDTH + 1, 2)(torch.cat([folded(), torch.ones(SAMPLES, 2)], 1)),
        lambda: folded() + torch.ones(SAMPLES - 1, WIDTH),
        lambda: folded() + torch.ones(ROWS, WIDTH),
        lambda: folded() + other,
        lambda: torch.cat([folded(), torch.ones(SAMPLES - 1, 2)], 1),
        lambda: torch.cat([folded(), other], 1),
        lambda: folded().view(SAMPLES, WIDTH + 1),
    ]
    for call in wrong:
        with pytest.raises((RuntimeError, InputError)):
            call()


@pytest.mark.parametrize("threads", [1, 2])
def test_two_runs_are_bit_equal(threads: int) -> None:
    torch.manual_seed(0)
    model, item, start = Model(), torch.randn(SAMPLES, WIDTH), torch.randn(ROWS, WIDTH)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runs = []
        for _ in range(2):
            own, values = copy.deepcopy(model), start.clone().requires_grad_()
            loss = own(Folded(values, index()), item).square().sum()
            loss.backward()
            runs.append([loss.detach(), values.grad, *(parameter.grad for parameter in own.parameters())])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_segmented_sums_are_bit_equal_at_any_number_of_threads() -> None:
    torch.manual_seed(0)
    own = FoldIndex(torch.randint(0, 50, (20_000,)), 50)
    weights = torch.randn(20_000, 16)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            values = torch.ones(50, 16, requires_grad=True)
            (Folded(values, own).unfold() * weights).sum().backward()
            found.append(values.grad)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])  # type: ignore[arg-type]


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """Outputs of every kind; the reducer finds their tensors, and both processes end with the same gradients."""
    worker = Path(__file__).with_name("distributed.py")
    command = [sys.executable, str(worker), str(tmp_path / "meeting")]
    ranks = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    found = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert all(case["near"] for case in found[0])
