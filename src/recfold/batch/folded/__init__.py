"""Tensors that are held once per distinct row and take an ordinary tensor's place in any network.

tensor_like   attributes, methods and operators of a tensor
folded        Folded: values of the distinct rows, and their index
lazy_concat   LazyConcat: parts under several indexes side by side; products: pairs of them
dispatch      where a torch function finds its rule (names: which functions those are), or is unfolded
align         operands under one index
pointwise, along, shapes, matrices, layers, attention, random, concat, split_linear, products: the rules
watch         who listens to the operations
explain       one that listens and tells rows and floating-point operations (flops), as an Explanation
"""

from recfold.batch.folded import (  # noqa: F401
    along,
    attention,
    concat,
    layers,
    matrices,
    pointwise,
    products,
    shapes,
    split_linear,
)
from recfold.batch.folded.folded import WORTH, Folded, as_folded
from recfold.batch.folded.lazy_concat import LazyConcat
from recfold.batch.folded.random import share_masks, shared_masks
from recfold.batch.folded.tensor_like import TensorLike, plain
from recfold.batch.folded.windows import Windows

__all__ = [
    "WORTH",
    "Folded",
    "LazyConcat",
    "TensorLike",
    "Windows",
    "as_folded",
    "plain",
    "share_masks",
    "shared_masks",
]
