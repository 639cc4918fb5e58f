"""Which functions of torch are known by which name: `torch.add`, `Tensor.add`, `+` and its reflected form are one."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


POINTWISE = words("""
    abs absolute acos acosh add addcdiv addcmul arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
    atan2 atanh bfloat16 bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bool byte
    ceil celu char clamp clamp_max clamp_min clip clone conj copysign cos cosh deg2rad detach digamma div divide
    double elu eq erf erfc erfinv exp exp2 expm1 fix float float_power floor floor_divide fmax fmin fmod frac full_like
    ge gelu greater greater_equal gt half hardshrink hardsigmoid hardswish hardtanh heaviside hypot int isclose isfinite
    isinf isnan isneginf isposinf leaky_relu ldexp le lerp less less_equal lgamma log log10 log1p log2 logaddexp
    logaddexp2 logical_and logical_not logical_or logical_xor logit logsigmoid long lt masked_fill maximum minimum mish
    mul multiply nan_to_num ne neg negative nextafter not_equal ones_like positive pow rad2deg real reciprocal relu
    relu6 remainder round rsqrt rsub selu sgn short sigmoid sign signbit silu sin sinc sinh softplus softshrink softsign
    sqrt square sub subtract tan tanh tanhshrink threshold true_divide trunc where xlogy zeros_like
""")

# operators of Tensor: their reflected and in-place forms too
OPERATORS = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "le": "le",
    "gt": "gt",
    "ge": "ge",
    "neg": "neg",
    "abs": "abs",
    "invert": "bitwise_not",
    "matmul": "matmul",
    "getitem": "getitem",
    "setitem": "setitem_",
}

OTHERS = words("""
    to type_as cpu cuda type contiguous
    sum nansum mean nanmean prod amax amin max min argmax argmin all any logsumexp std var norm median nanmedian mode
    count_nonzero std_mean var_mean aminmax vector_norm cosine_similarity kthvalue
    softmax log_softmax softmin cumsum cumprod logcumsumexp cummax cummin sort argsort topk flip roll diff normalize glu
    gather take_along_dim index_select repeat_interleave narrow select split chunk tensor_split unbind
    transpose swapaxes swapdims permute movedim moveaxis t adjoint unsqueeze squeeze view reshape flatten unflatten
    expand expand_as view_as repeat tile cat concat concatenate stack pad
    linear bilinear matmul mm bmm baddbmm addmm einsum mv tensordot
    scaled_dot_product_attention multi_head_attention_forward
    layer_norm rms_norm group_norm instance_norm batch_norm
    embedding one_hot prelu
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d avg_pool1d avg_pool2d max_pool1d max_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
    gru lstm rnn_tanh rnn_relu
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout rrelu gumbel_softmax
    bernoulli rand_like randn_like
    new_zeros new_ones new_full new_empty new_tensor
    is_floating_point is_complex is_nonzero numel is_same_size is_signed can_cast result_type
    tril_indices triu_indices
""")

# what changes its first argument: named with a closing underscore
IN_PLACE_OTHERS = words("""
    copy_ fill_ zero_ setitem_ uniform_ normal_ bernoulli_ exponential_ random_ log_normal_ geometric_ cauchy_ set_
    transpose_ t_ squeeze_ unsqueeze_ resize_ index_fill_ index_copy_ index_add_ index_put_ scatter_ scatter_add_
    masked_scatter_ swapaxes_ swapdims_
""")

_SOURCES: tuple[Any, ...] = (
    torch,
    torch.Tensor,
    functional,
    torch._C._nn,
    torch.special,
    torch.linalg,
    torch._C._VariableFunctions,
)


def _names() -> dict[Callable[..., Any], str]:
    known: dict[Callable[..., Any], str] = {}

    def add(name: str, *spellings: str) -> None:
        for spelling in spellings:
            for source in _SOURCES:
                found = getattr(source, spelling, None)
                if callable(found) and not isinstance(found, type):
                    known.setdefault(found, name)

    for name in POINTWISE:
        add(name, name)
        add(f"{name}_", f"{name}_")
    for name in (*OTHERS, *IN_PLACE_OTHERS):
        add(name, name)
    add("rmatmul", "__rmatmul__")
    for operator, name in OPERATORS.items():
        add(name, f"__{operator}__", f"__r{operator}__")
        if operator not in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "abs", "invert"):
            add(f"{name}_", f"__i{operator}__")
    return known


NAMES = _names()
"""Function -> its name."""


def _inplace_flags() -> dict[Callable[..., Any], int]:
    flags: dict[Callable[..., Any], int] = {}
    for func in vars(functional).values():
        if inspect.isfunction(func):
            parameters = list(inspect.signature(func).parameters)
            if "inplace" in parameters:
                flags[func] = parameters.index("inplace")
    return flags


INPLACE_FLAG = _inplace_flags()
"""Function -> position of its argument `inplace`."""

IN_PLACE = frozenset(name for name in NAMES.values() if name.endswith("_"))
