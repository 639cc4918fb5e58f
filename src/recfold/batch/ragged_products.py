"""Matrix products of many shapes in one call: each row's vectors with those of all its samples, however many these are.

torch multiplies stacks of one shape. MKL, which torch brings on x86, takes a list of matrices of any shapes, wherever
they lie (`gemm_batch`), so that nothing has to be sorted or copied for rows of one count to follow each other.

Legend: B samples in the order of their rows; U rows, row u has the samples offsets[u] to offsets[u + 1]; M and N
vectors of a row and of a sample, D their dim.
"""

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recfold.batch.torch_cpu import torch_cpu

Numbers = NDArray[np.int64]


def serves(*tensors: Tensor) -> bool:
    """Whether the operations below take these: float32 or float64 on a CPU, of one type and not empty, where torch has
    MKL's call."""
    dtype = tensors[0].dtype
    return _gemm_batch(dtype) is not None and all(own.dtype == dtype and own.is_cpu and own.numel() for own in tensors)


def ragged_products(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    """Every sample's vectors with those of its row, [B, N * M]; what `serves` says yes to. Autograd does not see it.

    Args:
        vectors_UMD, others_BND: contiguous.
        offsets: int64 [U + 1], from 0 to B, never falling.
    Raises:
        ValueError: operands that are not so.
    """
    return torch.ops.recfold.ragged_products(vectors_UMD, others_BND, offsets)


def ragged_products_gradients(
    grad_BP: Tensor, vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both operands of `ragged_products` from that of its result; zero for a row without samples.

    Args:
        grad_BP: [B, N * M], contiguous.
    Raises:
        ValueError: operands that are not so.
    """
    return torch.ops.recfold.ragged_products_gradients(grad_BP, vectors_UMD, others_BND, offsets)


def ragged_products_reference(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    """The slow twin of `ragged_products`: row by row."""
    own_samples = others_BND.tensor_split(offsets[1:-1])
    return torch.cat(
        [(own @ row.t()).reshape(len(own), -1) for row, own in zip(vectors_UMD, own_samples, strict=True) if len(own)]
    )


def _products(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    _check(vectors_UMD, others_BND, offsets)
    (_, num_m, dim), num_n = vectors_UMD.shape, others_BND.shape[1]
    out = others_BND.new_empty(len(others_BND), num_n * num_m)
    firsts = offsets.numpy()
    samples, products = _samples_of(others_BND, num_n, firsts), _samples_of(out, num_n, firsts)
    _multiply(samples, _rows_of(vectors_UMD).transposed(), products, inner=dim)
    return out


def _gradients(grad_BP: Tensor, vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    _check(vectors_UMD, others_BND, offsets)
    (_, num_m, _), num_n = vectors_UMD.shape, others_BND.shape[1]
    expected = (len(others_BND), num_n * num_m)
    if grad_BP.shape != expected or not _alike(grad_BP, others_BND):
        raise ValueError(f"a gradient of {tuple(grad_BP.shape)}, expected contiguous {expected}")
    of_vectors, of_others = torch.zeros_like(vectors_UMD), torch.empty_like(others_BND)
    firsts = offsets.numpy()
    grad, samples = _samples_of(grad_BP, num_n, firsts), _samples_of(others_BND, num_n, firsts)
    _multiply(grad, _rows_of(vectors_UMD), _samples_of(of_others, num_n, firsts), inner=num_m)
    _multiply(grad.transposed(), samples, _rows_of(of_vectors), inner=samples.lines)
    return of_vectors, of_others


def _check(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> None:
    """Addresses are taken of all these: nothing else would notice that they are wrong."""
    shapes = f"vectors {tuple(vectors_UMD.shape)} and {tuple(others_BND.shape)}"
    if vectors_UMD.dim() != 3 or others_BND.dim() != 3 or vectors_UMD.shape[2] != others_BND.shape[2]:
        raise ValueError(f"{shapes}, expected [U, M, D] and [B, N, D]")
    if not (serves(vectors_UMD, others_BND) and _alike(vectors_UMD, others_BND)):
        raise ValueError(f"{shapes} that are not contiguous and of one type, float32 or float64, on a CPU with MKL")
    if offsets.dtype is not torch.int64 or not offsets.is_contiguous() or offsets.shape != (len(vectors_UMD) + 1,):
        raise ValueError(f"offsets of {tuple(offsets.shape)}, expected int64 [{len(vectors_UMD) + 1}]")
    firsts = offsets.numpy()
    if firsts[0] != 0 or firsts[-1] != len(others_BND) or (np.diff(firsts) < 0).any():
        raise ValueError(f"offsets from {firsts[0]} to {firsts[-1]}, expected 0 to {len(others_BND)}, never falling")


def _alike(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and first.is_contiguous() and second.is_contiguous()


@dataclass(frozen=True, eq=False)
class _Matrices:
    """One matrix a row, each with its lines one after the other.

    Args:
        held: where they lie.
        first_U: int64, the entry with which each begins.
        lines: int64 [U], or one number.
        columns: of all.
        turned: whether they take part transposed.
    """

    held: Tensor
    first_U: Numbers
    lines: "Numbers | int"
    columns: int
    turned: bool = False

    def transposed(self) -> "_Matrices":
        return _Matrices(self.held, self.first_U, self.lines, self.columns, not self.turned)

    def addresses(self) -> Numbers:
        return self.first_U * self.held.element_size() + self.held.data_ptr()


def _rows_of(held_UMD: Tensor) -> _Matrices:
    num_rows, lines, columns = held_UMD.shape
    return _Matrices(held_UMD, np.arange(num_rows) * (lines * columns), lines, columns)


def _samples_of(held: Tensor, lines: int, offsets: Numbers) -> _Matrices:
    """Of tensors with so many lines a sample."""
    width = held.shape[1:].numel()
    return _Matrices(held, offsets[:-1] * width, np.diff(offsets) * lines, width // lines)


def _multiply(left: _Matrices, right: _Matrices, out: _Matrices, inner: "Numbers | int") -> None:
    """`out = left @ right`, matrix by matrix.

    The library's matrices are column-major: it sees each of ours transposed, and is asked for `right^T left^T`.
    """
    groups = len(out.first_U)
    integers = np.empty((10, groups), dtype=np.int64)
    of_inner, of_right, right_line, of_left, left_line, of_out, out_line, columns, lines, each = integers
    of_inner[:], columns[:], lines[:], each[:] = inner, out.columns, out.lines, 1
    for addresses, line, own in ((of_right, right_line, right), (of_left, left_line, left), (of_out, out_line, out)):
        addresses[:], line[:] = own.addresses(), own.columns
    factors = np.zeros((2, groups), dtype=np.float32 if out.held.dtype is torch.float32 else np.float64)
    factors[0] = 1
    number = np.array(groups)
    call = _gemm_batch(out.held.dtype)
    assert call is not None
    flags = [(b"T" if own.turned else b"N") * groups for own in (right, left)]
    factor, nothing = factors
    before = (columns, lines, of_inner, factor, of_right, right_line, of_left, left_line)
    after = (nothing, of_out, out_line, number, each)
    call(*flags, *(own.ctypes.data for own in (*before, *after)))


@functools.cache
def _gemm_batch(dtype: torch.dtype) -> Any:
    """MKL's call with 64-bit sizes in the library that torch's operations are in, or None.

    Source: oneMKL, BLAS-like extensions, "?gemm_batch", Fortran 77 interface: every argument by address.
    """
    name = {torch.float32: "SGEMM_BATCH_64", torch.float64: "DGEMM_BATCH_64"}.get(dtype)
    call = None if name is None else getattr(torch_cpu(), name, None)
    if call is None:
        return None
    call.restype, call.argtypes = None, [ctypes.c_void_p] * 15
    return call


# operations of torch's own kind: profilers, counters of operations and `explain` see them
_LIBRARY = torch.library.Library("recfold", "FRAGMENT")
_LIBRARY.define("ragged_products(Tensor vectors, Tensor others, Tensor offsets) -> Tensor")
_LIBRARY.define(
    "ragged_products_gradients(Tensor grad, Tensor vectors, Tensor others, Tensor offsets) -> (Tensor, Tensor)"
)
_LIBRARY.impl("ragged_products", _products, "CPU")
_LIBRARY.impl("ragged_products_gradients", _gradients, "CPU")
