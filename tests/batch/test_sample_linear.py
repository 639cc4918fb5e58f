"""The linear layer for rows of every sample is torch's own, whoever computes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from recfold.batch import Folded, FoldIndex, explain, sample_linear
from recfold.batch.sample_linear import SampleLinear, linear

BOTH = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
needs_onednn = pytest.mark.skipif(not BOTH, reason="torch was built without oneDNN or MKL")

ROWS, WIDE, NARROW = 600, 160, 48


class Operations(TorchDispatchMode):
    """Names of the operations that ran inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))

    @property
    def by_onednn(self) -> int:
        return self.names.count("_linear_pointwise")


def given(rows: int = ROWS, width: int = WIDE, out: int = NARROW, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Rows, weight and bias."""
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in ((rows, width), (out, width), (out,))]


def results(layer: Callable[..., Tensor], inputs: list[Tensor], read: Callable[[Tensor], Tensor]) -> list[Tensor]:
    out = layer(*inputs)
    return [out, *torch.autograd.grad(read(out), inputs)]


READS: dict[str, Callable[[Tensor], Tensor]] = {
    "squares": lambda out: out.square().sum(),
    "a sum, whose gradient is one number": lambda out: out.sum(),
    "columns": lambda out: out[:, ::2].exp().sum(),
    "transposed": lambda out: (out.t() * torch.linspace(0, 1, ROWS)).sum(),
}


@needs_onednn
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_it_gives_what_torch_gives(read: Callable[[Tensor], Tensor]) -> None:
    inputs = given()
    with Operations() as operations:
        found = results(linear, inputs, read)
    assert operations.by_onednn == 2  # the product, and the gradient of rows
    for own, expected in zip(found, results(functional.linear, inputs, read), strict=True):
        assert_close(own, expected, rtol=2e-5, atol=2e-4)


@needs_onednn
def test_rows_that_are_no_block_of_memory() -> None:
    rows, weight, bias = given()
    apart = torch.randn(WIDE, ROWS).t()
    assert_close(linear(apart, weight, bias), functional.linear(apart, weight, bias), rtol=2e-5, atol=2e-4)
    assert_close(linear(rows, weight, None), functional.linear(rows, weight), rtol=2e-5, atol=2e-4)


@needs_onednn
def test_only_gradients_that_are_wanted() -> None:
    rows, weight, _ = given()
    (of_weight,) = torch.autograd.grad(linear(rows.detach(), weight, None).sum(), [weight])
    (of_rows,) = torch.autograd.grad(linear(rows, weight.detach(), None).sum(), [rows])
    assert_close(of_weight, rows.sum(0).expand(NARROW, WIDE), rtol=2e-5, atol=2e-4)
    assert_close(of_rows, weight.sum(0).expand(ROWS, WIDE), rtol=2e-5, atol=2e-4)
    with torch.no_grad():
        assert not linear(rows, weight, None).requires_grad


@needs_onednn
def test_a_gradient_of_a_gradient() -> None:
    def penalty(layer: Callable[..., Tensor]) -> list[Tensor]:
        inputs = given()
        (of_rows,) = torch.autograd.grad(layer(*inputs).square().sum(), inputs[:1], create_graph=True)
        return list(torch.autograd.grad(of_rows.square().sum(), inputs))

    for own, expected in zip(penalty(linear), penalty(functional.linear), strict=True):
        assert_close(own, expected, rtol=1e-4, atol=1e-1)  # numbers around 1e4


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(given(dtype=torch.float64), id="float64"),
        pytest.param(given(out=1), id="one column out"),
        pytest.param(given(width=13, out=512), id="few columns in"),
        pytest.param(given(rows=20), id="few rows"),
        pytest.param(given(rows=0), id="no rows"),
    ],
)
def test_the_rest_is_torch_s_own_bit_by_bit(inputs: list[Tensor]) -> None:
    with Operations() as operations:
        found = results(linear, inputs, READS["squares"])
    assert operations.by_onednn == 0
    expected = results(functional.linear, inputs, READS["squares"])
    assert all(torch.equal(own, other) for own, other in zip(found, expected, strict=True))


def test_where_torch_has_no_such_operation_it_is_torch_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_linear, "_OPS", None)
    assert torch.equal(linear(*given()), functional.linear(*given()))


def test_what_does_not_fit_is_refused_by_torch() -> None:
    rows, weight, bias = given()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear(rows[:, 1:], weight, bias)


def test_autocast_decides_the_precision() -> None:
    rows, weight, bias = given()
    with torch.autocast("cpu", torch.bfloat16):
        found = linear(rows, weight, bias)
        assert torch.equal(found, functional.linear(rows, weight, bias))
    assert found.dtype == torch.bfloat16


class Calls(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


def test_who_listens_to_torch_s_functions_hears_of_it() -> None:
    with Calls() as calls:
        linear(*given())
    assert functional.linear in calls.seen


@needs_onednn
def test_explain_counts_the_part_per_sample_of_a_split_layer() -> None:
    torch.manual_seed(0)
    index = FoldIndex(torch.arange(4).repeat_interleave(ROWS // 4), num_distinct=4)
    user, item = Folded(torch.randn(4, 64), index), torch.randn(ROWS, 160)

    class Joined(SampleLinear):
        def forward(self, input: Any) -> Any:
            return super().forward(torch.cat([input, item], 1))

    (split,) = explain(Joined(224, NARROW), user).operations
    assert split.name == "linear"
    assert split.flops_needed == 2 * ROWS * 224 * NARROW
    assert split.flops_used < 2 * ROWS * 224 * NARROW
    assert split.flops_used >= 2 * NARROW * (ROWS * 160 + 4 * 64)


def test_its_state_is_that_of_an_ordinary_layer() -> None:
    torch.manual_seed(0)
    ours = SampleLinear(WIDE, NARROW)
    torch.manual_seed(0)
    plain = nn.Linear(WIDE, NARROW)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(own, other) for own, other in zip(ours.parameters(), plain.parameters(), strict=True))
    plain.load_state_dict(ours.state_dict())
