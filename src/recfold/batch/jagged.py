"""Lists of unequal length in one buffer: list i is `values[offsets[i]:offsets[i + 1]]`."""

import torch
from torch import Tensor


def offsets_of(length_N: Tensor) -> Tensor:
    """Offsets [N + 1] of lists that lie one after the other.

    >>> offsets_of(torch.tensor([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    offsets = length_N.new_zeros(len(length_N) + 1)
    torch.cumsum(length_N, 0, out=offsets[1:])
    return offsets


def window_positions(start_N: Tensor, length_N: Tensor) -> tuple[Tensor, Tensor]:
    """Every position of every window `[start, start + length)`, windows one after the other.

    Args:
        start_N, length_N: int64.
    Returns:
        positions_P int64 and offsets [N + 1], with P the sum of lengths.

    Example:
        >>> positions, offsets = window_positions(torch.tensor([4, 0]), torch.tensor([2, 3]))
        >>> positions.tolist(), offsets.tolist()
        ([4, 5, 0, 1, 2], [0, 2, 5])
    """
    offsets = offsets_of(length_N)
    total = int(offsets[-1])
    shift_N = start_N - offsets[:-1]
    positions_P = torch.arange(total, device=start_N.device)
    positions_P += torch.repeat_interleave(shift_N, length_N, output_size=total)
    return positions_P, offsets


def jagged_index_select(
    values_V: Tensor, offsets: Tensor, index_N: Tensor, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Select lists by number directly, without padding them to a rectangle and back.

    Args:
        values_V: values of all lists; may have further axes.
        offsets: int64 [lists + 1].
        index_N: int64, numbers of the lists to take, in any order and any number of times.
        weights_V: taken along.
    Returns:
        values, offsets [N + 1] and weights of the selected lists.

    Example:
        >>> values, offsets, _ = jagged_index_select(torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3]),
        ...                                          torch.tensor([1, 0, 1]))
        >>> values.tolist(), offsets.tolist()
        ([4, 7, 9, 4], [0, 1, 3, 4])
    """
    start_N = offsets[index_N]
    positions_P, selected = window_positions(start_N, offsets[index_N + 1] - start_N)
    weights = None if weights_V is None else weights_V.index_select(0, positions_P)
    return values_V.index_select(0, positions_P), selected, weights


def jagged_index_select_reference(
    values_V: Tensor, offsets: Tensor, index_N: Tensor, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The slow twin of `jagged_index_select`: one list at a time."""
    bounds = [(int(offsets[i]), int(offsets[i + 1])) for i in index_N.tolist()]
    selected = [0]
    for start, stop in bounds:
        selected.append(selected[-1] + stop - start)
    values = torch.cat([values_V[:0], *(values_V[start:stop] for start, stop in bounds)])
    weights = None
    if weights_V is not None:
        weights = torch.cat([weights_V[:0], *(weights_V[start:stop] for start, stop in bounds)])
    return values, torch.tensor(selected, dtype=torch.int64), weights
