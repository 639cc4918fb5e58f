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

import torch
from torch import Tensor

from recfold.batch.torch_cpu import torch_cpu


def serves(*tensors: Tensor) -> bool:
    """Whether the operations below take these: float32 or float64 of one type on a CPU, and torch has MKL's call."""
    dtype = tensors[0].dtype
    return _gemm_batch(dtype) is not None and all(own.dtype == dtype and own.is_cpu for own in tensors)


def ragged_products(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    """Every sample's vectors with those of its row, [B, N * M]; what `serves` says yes to.

    Args:
        vectors_UMD, others_BND: contiguous.
        offsets: int64 [U + 1], rising from 0 to B.
    """
    return torch.ops.recfold.ragged_products(vectors_UMD, others_BND, offsets)


def ragged_products_gradients(
    grad_BP: Tensor, vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both operands of `ragged_products` from that of its result; zero for a row without samples.

    Args:
        grad_BP: [B, N * M], contiguous.
    """
    return torch.ops.recfold.ragged_products_gradients(grad_BP, vectors_UMD, others_BND, offsets)


def ragged_products_reference(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    """The slow twin of `ragged_products`: row by row."""
    own_samples = others_BND.tensor_split(offsets[1:-1])
    products = [
        (own.flatten(0, 1) @ row.t()).view(len(own), -1) for row, own in zip(vectors_UMD, own_samples, strict=True)
    ]
    return torch.cat(products)


def _products(vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> Tensor:
    (_, num_m, dim), num_n = vectors_UMD.shape, others_BND.shape[1]
    out = others_BND.new_empty(len(others_BND), num_n * num_m)
    rows = _rows_of(vectors_UMD)
    samples, products = _samples_of(others_BND, num_n, offsets), _samples_of(out, num_n, offsets)
    _multiply(samples, rows.transposed(), products, inner=dim)
    return out


def _gradients(grad_BP: Tensor, vectors_UMD: Tensor, others_BND: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    (_, num_m, _), num_n = vectors_UMD.shape, others_BND.shape[1]
    of_vectors, of_others = torch.zeros_like(vectors_UMD), torch.empty_like(others_BND)
    grad = _samples_of(grad_BP, num_n, offsets)
    samples = _samples_of(others_BND, num_n, offsets)
    _multiply(grad, _rows_of(vectors_UMD), _samples_of(of_others, num_n, offsets), inner=num_m)
    _multiply(grad.transposed(), samples, _rows_of(of_vectors), inner=samples.lines)
    return of_vectors, of_others


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
    first_U: Tensor
    lines: Tensor | int
    columns: int
    turned: bool = False

    def transposed(self) -> "_Matrices":
        return _Matrices(self.held, self.first_U, self.lines, self.columns, not self.turned)


def _rows_of(held_UMD: Tensor) -> _Matrices:
    num_rows, lines, columns = held_UMD.shape
    return _Matrices(held_UMD, torch.arange(num_rows) * (lines * columns), lines, columns)


def _samples_of(held: Tensor, lines: int, offsets: Tensor) -> _Matrices:
    """Of tensors with so many lines a sample."""
    width = held[0].numel()
    return _Matrices(held, offsets[:-1] * width, offsets.diff() * lines, width // lines)


def _multiply(left: _Matrices, right: _Matrices, out: _Matrices, inner: Tensor | int) -> None:
    """`out = left @ right`, matrix by matrix.

    The library's matrices are column-major: it sees each of ours transposed, and is asked for `right^T left^T`.
    """
    groups = len(out.first_U)

    def each(number: Tensor | int) -> Tensor:
        return number if isinstance(number, Tensor) else torch.full((groups,), number)

    def flags(own: _Matrices) -> bytes:
        return (b"T" if own.turned else b"N") * groups

    def addresses(own: _Matrices) -> Tensor:
        return own.first_U * own.held.element_size() + own.held.data_ptr()

    dtype = out.held.dtype
    factor, nothing = torch.ones(groups, dtype=dtype), torch.zeros(groups, dtype=dtype)
    arguments: list[Any] = [
        *(flags(right), flags(left), each(out.columns), each(out.lines), each(inner)),
        *(factor, addresses(right), each(right.columns), addresses(left), each(left.columns)),
        *(nothing, addresses(out), each(out.columns), torch.tensor(groups), torch.ones(groups, dtype=torch.int64)),
    ]
    call = _gemm_batch(dtype)
    assert call is not None
    call(*(own if isinstance(own, bytes) else own.data_ptr() for own in arguments))


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
_LIBRARY = torch.library.Library("recfold", "DEF")
_LIBRARY.define("ragged_products(Tensor vectors, Tensor others, Tensor offsets) -> Tensor")
_LIBRARY.define(
    "ragged_products_gradients(Tensor grad, Tensor vectors, Tensor others, Tensor offsets) -> (Tensor, Tensor)"
)
_LIBRARY.impl("ragged_products", _products, "CPU")
_LIBRARY.impl("ragged_products_gradients", _gradients, "CPU")
