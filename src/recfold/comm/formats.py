"""How a row of numbers is written as bytes: a fixed number of them, whatever the row holds."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_INT8 = 127


@dataclass(frozen=True)
class RowFormat:
    """One member of the family.

    Args:
        name: as the user writes it.
        row_bytes: (dim, dtype of the numbers) -> bytes of a row.
        encode_: (bytes [N, row bytes] uint8, contiguous, written to; rows [N, D] float32 or float64).
        decode: (bytes, dim, dtype) -> rows [N, D]; may be a view of the bytes.
    """

    name: str
    row_bytes: Callable[[int, torch.dtype], int]
    encode_: Callable[[Tensor, Tensor], None]
    decode: Callable[[Tensor, int, torch.dtype], Tensor]


def aligned(bytes_N: Tensor, dtype: torch.dtype) -> Tensor:
    """Contiguous bytes as another type: a view where they start at a multiple of its size, else a view of a copy."""
    if bytes_N.storage_offset() % dtype.itemsize:
        bytes_N = bytes_N.clone(memory_format=torch.contiguous_format)
    return bytes_N.view(dtype)


def _write_(bytes_NB: Tensor, numbers: Tensor, dtype: torch.dtype) -> None:
    """Convert to `dtype` and write: in one pass where the bytes are aligned."""
    if bytes_NB.numel() == 0:
        return
    if bytes_NB.is_contiguous() and bytes_NB.storage_offset() % dtype.itemsize == 0:
        bytes_NB.view(dtype).copy_(numbers)
    else:
        bytes_NB.copy_(numbers.to(dtype).contiguous().view(torch.uint8))


def _plain_format(name: str, wire: torch.dtype | None) -> RowFormat:
    """Each number in its own type, or all in another."""

    def row_bytes(dim: int, dtype: torch.dtype) -> int:
        return dim * (wire or dtype).itemsize

    def encode_(bytes_NB: Tensor, rows_ND: Tensor) -> None:
        _write_(bytes_NB, rows_ND, wire or rows_ND.dtype)

    def decode(bytes_NB: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        if bytes_NB.numel() == 0:
            return bytes_NB.new_empty(len(bytes_NB), dim, dtype=dtype)
        return aligned(bytes_NB.contiguous(), wire or dtype).to(dtype)

    return RowFormat(name, row_bytes, encode_, decode)


_AS_IT_IS = _plain_format("as it is", None)


def _is_narrow(dim: int, dtype: torch.dtype) -> bool:
    """Whether a row with its scale would be longer than the row: a float32 alone, such as a first-order weight."""
    return dim * dtype.itemsize < dim + torch.float32.itemsize


def _int8_row_bytes(dim: int, dtype: torch.dtype) -> int:
    return dim * dtype.itemsize if _is_narrow(dim, dtype) else dim + torch.float32.itemsize


def _int8_encode_(bytes_NB: Tensor, rows_ND: Tensor) -> None:
    """`scale = largest magnitude / 127` (float32), then `round(x / scale)`; a row of zeros has scale 0; a row that is
    shorter than that travels as it is.
    """
    if bytes_NB.numel() == 0:
        return
    if _is_narrow(rows_ND.shape[1], rows_ND.dtype):
        _AS_IT_IS.encode_(bytes_NB, rows_ND)
        return
    scale_N = (rows_ND.abs().amax(1) / LARGEST_INT8).float()
    # a row so small that its scale is no normal number would lose it: it becomes zeros
    scale_N = torch.where(scale_N < torch.finfo(torch.float32).tiny, 0.0, scale_N)
    inverse_N = torch.where(scale_N == 0, 0.0, 1.0 / scale_N).to(rows_ND.dtype)
    whole_ND = (rows_ND * inverse_N.unsqueeze(1)).round_().clamp_(-LARGEST_INT8, LARGEST_INT8).nan_to_num_(0.0)
    bytes_NB[:, :4].copy_(scale_N.unsqueeze(1).view(torch.uint8))
    bytes_NB[:, 4:].copy_(whole_ND.to(torch.int8).view(torch.uint8))


def _int8_decode(bytes_NB: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    if bytes_NB.numel() == 0:
        return bytes_NB.new_empty(len(bytes_NB), dim, dtype=dtype)
    if _is_narrow(dim, dtype):
        return _AS_IT_IS.decode(bytes_NB, dim, dtype)
    scale_N1 = bytes_NB[:, :4].clone(memory_format=torch.contiguous_format).view(torch.float32)
    return bytes_NB[:, 4:].view(torch.int8).to(dtype).mul_(scale_N1.to(dtype))


FORMATS: dict[str, RowFormat] = {
    "fp32": _plain_format("fp32", None),
    "fp16": _plain_format("fp16", torch.float16),
    "bf16": _plain_format("bf16", torch.bfloat16),
    "int8": RowFormat("int8", _int8_row_bytes, _int8_encode_, _int8_decode),
}


def round_trip(row_format: RowFormat, rows_ND: Tensor) -> Tensor:
    """What arrives when rows are sent.

    >>> round_trip(FORMATS["int8"], torch.tensor([[127.0, -1.0, 0.4]])).tolist()
    [[127.0, -1.0, 0.0]]
    """
    bytes_NB = torch.empty(
        len(rows_ND), row_format.row_bytes(rows_ND.shape[1], rows_ND.dtype), dtype=torch.uint8, device=rows_ND.device
    )
    row_format.encode_(bytes_NB, rows_ND)
    return row_format.decode(bytes_NB, rows_ND.shape[1], rows_ND.dtype)


def round_trip_reference(name: str, rows_ND: Tensor) -> Tensor:
    """The slow twin of `round_trip`: one number at a time."""
    arrived = []
    for row in rows_ND.tolist():
        if name == "int8" and not _is_narrow(rows_ND.shape[1], rows_ND.dtype):
            scale = float(torch.tensor(max(abs(x) for x in row) / LARGEST_INT8, dtype=torch.float32))
            row = [0.0 if scale < torch.finfo(torch.float32).tiny else round(x / scale) * scale for x in row]
        elif name in ("fp16", "bf16"):
            wire = {"fp16": torch.float16, "bf16": torch.bfloat16}[name]
            row = [float(torch.tensor(x, dtype=rows_ND.dtype).to(wire)) for x in row]
        arrived.append(row)
    return torch.tensor(arrived, dtype=rows_ND.dtype).view(rows_ND.shape)
