"""Counts what is really computed, below autograd: floating-point operations of products, and entries of the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from recfold.batch.folded.names import words


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations.

    Args:
        products: of matrix products, convolutions and attention: two for each multiplication and its addition.
        entries: of all other arithmetic: one for each entry of its largest operand or result (batch norm, which takes
            several steps in one kernel: one for each step).
    """

    products: int = 0
    entries: int = 0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.products + other.products, self.entries + other.entries)

    def __sub__(self, other: "Flops") -> "Flops":
        return Flops(self.products - other.products, self.entries - other.entries)

    @property
    def total(self) -> int:
        return self.products + self.entries


MOVES = frozenset(
    words("""
    clone copy copy_ _to_copy cat stack index_select index gather repeat constant_pad_nd scatter scatter_ index_put_
    fill_ zero_ zeros_like ones_like full_like empty_like empty_strided new_zeros new_ones new_empty new_full
    new_empty_strided arange full zeros ones empty select_scatter slice_scatter embedding lift_fresh lift_fresh_copy
    masked_select roll flip sort detach detach_ contiguous _unsafe_view _reshape_alias
    """)
)
"""Operations that only make, copy or arrange entries."""


STEPS = dict.fromkeys(
    ("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update", "cudnn_batch_norm"),
    9,  # two for the mean, three for the variance, centring, scaling, weight and bias
)
"""Kernels that stand for several operations on all entries."""


class FlopCount(TorchDispatchMode):
    """Adds up what runs inside; `total` so far.

    >>> with FlopCount() as count:
    ...     _ = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).relu()
    >>> count.total
    Flops(products=48, entries=8)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = Flops()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = getattr(func, "overloadpacket", None)
        if packet is None:
            return out
        name = packet.__name__
        plain = getattr(torch.ops.aten, name.removesuffix("_"), None) if name.endswith("_") else None
        formula: Callable[..., int] | None = flop_registry.get(packet) or flop_registry.get(plain)
        if packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            query, key, value = (given.shape for given in args[:3])
            self.total += Flops(products=sdpa_flop_count(query, key, value))
        elif name == "mkldnn_rnn_layer":
            rows, weights = args[0].shape[:-1].numel(), args[1].numel() + args[2].numel()
            self.total += Flops(products=2 * rows * weights)
        elif name in ("_linear_pointwise", "ragged_products"):
            self.total += Flops(products=2 * out.numel() * args[0].shape[-1])
        elif name == "ragged_products_gradients":
            self.total += Flops(products=4 * args[0].numel() * args[1].shape[-1])
        elif formula is not None:
            self.total += Flops(products=int(formula(*args, **kwargs, out_val=out)))
        elif not func.is_view and name not in MOVES:
            self.total += Flops(entries=_entries(name, args, out) * STEPS.get(name, 1))
        return out


def _entries(name: str, args: Sequence[Any], out: Any) -> int:
    results = [result for result in _tensors(out) if result.is_floating_point()]
    if not results:
        return 0
    if name == "_embedding_bag":
        return args[1].numel() * args[0].shape[1]
    return max(tensor.numel() for tensor in (*results, *_tensors(args)))


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for part in given:
            yield from _tensors(part)
