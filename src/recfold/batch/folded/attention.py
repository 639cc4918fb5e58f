"""Attention: over histories on distinct rows; with queries of samples, keys and values still projected once a row."""

import math
from typing import Any

import torch
from torch.nn.functional import dropout, linear

from recfold.batch.folded.align import common_index, row_wise, under
from recfold.batch.folded.dispatch import Call, Why, rule
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.random import draws_masks


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Any:
    if call.arg(4, "dropout_p", 0.0) > 0 and draws_masks():
        return Why("it draws random numbers")
    return row_wise(call, last_free=2)


@rule("multi_head_attention_forward")
def multi_head_attention(call: Call) -> Any:
    """Query, key and value [length, batch, width]; on distinct rows where all are folded and nothing is drawn."""
    query, key, value = (call.arg(i, name) for i, name in enumerate(("query", "key", "value")))
    drawing = call.arg(13, "training", True) and call.arg(10, "dropout_p") > 0 and draws_masks()
    masked, mask = call.arg(14, "key_padding_mask"), call.arg(16, "attn_mask")
    if call.arg(21, "static_k") is not None or call.arg(22, "static_v") is not None:
        return Why("its keys are given")
    if isinstance(mask, Folded) or (mask is not None and mask.dim() == 3):
        return Why("the attention mask is per sample")
    if not all(part.ndim == 3 for part in (query, key, value)):
        return Why("there is no batch axis")
    if any(isinstance(part, Folded) and part.batch_axis != 1 for part in (query, key, value)):
        return Why("its batch is not axis 1")
    if isinstance(masked, Folded) and masked.batch_axis != 0:
        return Why("the batch of the padding mask is not axis 0")
    own = [query, key, value, *([] if masked is None else [masked])]
    if not drawing and all(isinstance(part, Folded) for part in own):
        index = common_index([part.index for part in own])
        if not isinstance(index, Why):
            result = call.mapped(lambda given: under(given, index) if isinstance(given, Folded) else given).run()
            output, weights = result
            return Folded(output, index, 1), None if weights is None else Folded(weights, index, 0)
    if not isinstance(key, Folded) or call.arg(7, "bias_k") is not None or call.arg(9, "add_zero_attn"):
        return Why("query, key or value is per sample")
    return _by_steps(call, query, key, value)


def _by_steps(call: Call, query: Any, key: Any, value: Any) -> Any:
    """The same from linear layers and products, each with a rule of its own: folded as far as that goes.

    Formula: softmax(Q K' / sqrt(d) + mask) V for each head, [batch, head, query, key].
    Source: Vaswani et al., Attention Is All You Need, section 3.2.
    """
    width, heads = call.arg(3, "embed_dim_to_check"), call.arg(4, "num_heads")
    length, samples, given_width = query.shape
    if given_width != width or width % heads or key.shape[:2] != value.shape[:2] or key.shape[1] != samples:
        return Why("the ordinary function refuses its widths")
    weights, biases = _projections(call)
    parts = (linear(part, w, b) for part, w, b in zip((query, key, value), weights, biases, strict=True))
    q, k, v = (part.unflatten(2, (heads, width // heads)).permute(1, 2, 0, 3) for part in parts)
    scores = torch.matmul(q / math.sqrt(width // heads), k.transpose(2, 3))
    mask = call.arg(16, "attn_mask")
    if mask is None and call.arg(24, "is_causal", False):
        return Why("the ordinary function refuses a causal hint without a mask")
    if mask is not None:
        if mask.shape != (length, key.shape[0]):
            return Why("the ordinary function refuses its mask")
        scores = scores + _added(mask, q.dtype)
    padding = call.arg(14, "key_padding_mask")
    if padding is not None:
        scores = scores + _added(padding, q.dtype).unsqueeze(1).unsqueeze(1)
    shares = torch.softmax(scores, -1)
    shares = dropout(shares, call.arg(10, "dropout_p"), call.arg(13, "training", True))
    out = torch.matmul(shares, v).permute(2, 0, 1, 3).flatten(2)
    out = linear(out, call.arg(11, "out_proj_weight"), call.arg(12, "out_proj_bias"))
    if not call.arg(15, "need_weights", True):
        return out, None
    return out, shares.mean(1) if call.arg(23, "average_attn_weights", True) else shares


def _projections(call: Call) -> tuple[Any, Any]:
    """Weights and biases of query, key and value."""
    if call.arg(17, "use_separate_proj_weight", False):
        weights = tuple(call.arg(18 + at, f"{part}_proj_weight") for at, part in enumerate("qkv"))
    else:
        weights = call.arg(5, "in_proj_weight").chunk(3)
    bias = call.arg(6, "in_proj_bias")
    return weights, (None,) * 3 if bias is None else bias.chunk(3)


def _added(mask: Any, dtype: torch.dtype) -> Any:
    """A mask as what is added to scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
