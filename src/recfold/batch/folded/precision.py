"""Which half precision a product is computed in: autocast decides below the place where sums are taken apart."""

from typing import Any

import torch


def half_precision(own: Any) -> torch.dtype | None:
    """The half precision that torch would compute a product of this operand in; None where it would not.

    Args:
        own: a tensor or tensor-like.
    """
    device_type = own.device.type
    if torch.is_autocast_enabled(device_type) and own.dtype in (torch.float32, torch.float16, torch.bfloat16):
        return torch.get_autocast_dtype(device_type)
    return own.dtype if own.dtype in (torch.float16, torch.bfloat16) else None
