"""A linear layer on rows of every sample: on a CPU by oneDNN, whose products of tall matrices are quicker than MKL's.

What has few rows stays with torch: their number changes from batch to batch, and oneDNN compiles a kernel for each.

Legend: B rows, K columns in, N columns out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import has_torch_function

LEAST_WIDTH = 16
"""Columns in and out from which oneDNN is asked."""

LEAST_PRODUCTS = 1 << 22
"""Multiplications from which oneDNN is asked: below, what the call itself takes counts."""


class SampleLinear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`."""

    def forward(self, input: Any) -> Any:
        """[..., K] -> [..., N]; folded where the input is."""
        return linear(input, self.weight, self.bias)


def linear(rows_BK: Any, weight_NK: Tensor, bias_N: Tensor | None) -> Any:
    """As `torch.nn.functional.linear`, which it is for everything but large float32 matrices on a CPU."""
    ordinary = not has_torch_function((rows_BK, weight_NK)) and not torch.compiler.is_compiling()
    if not (ordinary and quicker(rows_BK, weight_NK)) or torch.is_autocast_enabled("cpu"):
        return functional.linear(rows_BK, weight_NK, bias_N)
    return _Linear.apply(rows_BK, weight_NK, bias_N)


def quicker(rows_BK: Tensor, weight_NK: Tensor) -> bool:
    """Whether `rows_product` takes these and is worth its call; by shapes and types alone: runs are bit-equal."""
    if _OPS is None or rows_BK.dim() != 2 or weight_NK.dim() != 2 or rows_BK.shape[1] != weight_NK.shape[1]:
        return False
    held = all(type(given) in (Tensor, nn.Parameter) for given in (rows_BK, weight_NK))
    floats = rows_BK.dtype is torch.float32 is weight_NK.dtype and rows_BK.is_cpu and weight_NK.is_cpu
    wide = min(weight_NK.shape) >= LEAST_WIDTH
    return held and floats and wide and len(rows_BK) * weight_NK.numel() >= LEAST_PRODUCTS


def rows_product(
    rows_BK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None, *, added_BN: Tensor | None = None
) -> Tensor:
    """`rows @ weight^T + bias`, or `+ added`, of what `quicker` says yes to; autograd does not see it."""
    rows_BK = rows_BK.contiguous()
    if added_BN is not None:
        return _OPS.binary(rows_BK, added_BN, weight_NK, bias_N, "add")
    return _OPS.default(rows_BK, weight_NK, bias_N, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_BK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows_BK, weight_NK)
        return rows_product(rows_BK, weight_NK, bias_N)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ((grad_BN,), (of_rows, of_weight, of_bias)) = (grads, ctx.needs_input_grad)
        rows_BK, weight_NK = ctx.saved_tensors
        return (
            rows_gradient(grad_BN, weight_NK) if of_rows else None,
            grad_BN.t() @ rows_BK if of_weight else None,  # its rows are few: as quick by the BLAS library
            grad_BN.sum(0) if of_bias else None,
        )


def rows_gradient(grad_BN: Tensor, weight_NK: Tensor) -> Tensor:
    """`grad @ weight`; differentiable where a gradient of the gradient is wanted."""
    if torch.is_grad_enabled() or not quicker(grad_BN, weight_NK.t()):
        return grad_BN @ weight_NK
    return rows_product(grad_BN, weight_NK.t())


def _operations() -> Any:
    """torch's operation for a linear layer by oneDNN, which its compiler uses; None where this build has none."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return None
    found = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return found if found is not None and {"default", "binary"} <= set(found.overloads()) else None


_OPS: Any = _operations()
