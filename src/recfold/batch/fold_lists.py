"""Find which samples of a KeyedJaggedTensor repeat: by hash, on the tensor's own device, verified bit for bit."""

from collections.abc import Callable

import torch
from torch import Tensor

from recfold.batch.jagged import offsets_of, window_positions
from recfold.batch.kjt import KeyedJaggedTensor

SampleHash = Callable[[KeyedJaggedTensor], Tensor]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)


def first_occurrences(kjt: KeyedJaggedTensor, sample_hash: SampleHash | None = None) -> tuple[Tensor, Tensor]:
    """Number the samples by what they hold: two are the same if every key's list is equal bit for bit, weights too.

    Args:
        kjt: B samples.
        sample_hash: int64 [B] from a KeyedJaggedTensor; equal samples must get equal hashes.
    Returns:
        first_U: int64, rising: the first sample of each kind. inverse_B: int64, place of each sample's kind in it.
    """
    num_samples, device = kjt.num_samples, kjt.device
    hash_B = (sample_hash or hash_samples)(kjt)
    same_as_B = torch.arange(num_samples, device=device)
    open_N = same_as_B.clone()
    # One round does it unless two different samples have one hash; then those unlike the first of their hash go on.
    while len(open_N):
        first_N = open_N[_first_of_equal(hash_B[open_N])]
        equal_N = _equal_samples(kjt, open_N, first_N)
        same_as_B[open_N[equal_N]] = first_N[equal_N]
        open_N = open_N[~equal_N]
    is_first_B = same_as_B == torch.arange(num_samples, device=device)
    number_B = is_first_B.cumsum(0) - 1
    return is_first_B.nonzero().flatten(), number_B[same_as_B]


def first_occurrences_reference(kjt: KeyedJaggedTensor) -> tuple[Tensor, Tensor]:
    """The slow twin of `first_occurrences`: a dictionary from the bytes of a sample's lists to its number."""
    numbers: dict[tuple[object, ...], int] = {}
    first: list[int] = []
    inverse: list[int] = []
    for b in range(kjt.num_samples):
        content: list[object] = []
        for key in kjt.keys:
            values, offsets, weights = kjt.bags(key)
            start, stop = int(offsets[b]), int(offsets[b + 1])
            content.append(values[start:stop].contiguous().numpy().tobytes())
            content.append(None if weights is None else weights[start:stop].contiguous().numpy().tobytes())
        if tuple(content) not in numbers:
            numbers[tuple(content)] = len(first)
            first.append(b)
        inverse.append(numbers[tuple(content)])
    return torch.tensor(first, dtype=torch.int64), torch.tensor(inverse, dtype=torch.int64)


def hash_samples(kjt: KeyedJaggedTensor) -> Tensor:
    """A 64-bit hash of each sample's lists, in order, with weights: int64 [B].

    Integer sums wrap and so may be taken in any order: running sums are exact here.
    """
    lengths_L, num_values = kjt.lengths(), len(kjt.values)
    mixed_V = torch.arange(num_values, device=kjt.device)
    mixed_V -= torch.repeat_interleave(kjt.offsets[:-1], lengths_L, output_size=num_values)
    mixed_V *= _GAMMA  # the place in the list, so that order counts
    _mix_(mixed_V.bitwise_xor_(_as_bits(kjt.values)))
    if kjt.weights is not None:
        _mix_(mixed_V.bitwise_xor_(_as_bits(kjt.weights)))
    running = offsets_of(mixed_V)
    list_L = running[kjt.offsets[1:]] - running[kjt.offsets[:-1]]
    list_L ^= splitmix64_tensor(lengths_L)
    key_F1 = torch.arange(len(kjt.keys), device=kjt.device).unsqueeze(1)
    return splitmix64_tensor(splitmix64_tensor(list_L).view(len(kjt.keys), -1) ^ splitmix64_tensor(key_F1)).sum(0)


def splitmix64_tensor(values: Tensor) -> Tensor:
    """One splitmix64 step of each int64, as `recfold.spec.splitmix64` on arrays (two's complement)."""
    mixed = values.clone()
    _mix_(mixed)
    return mixed


def _mix_(z: Tensor) -> None:
    # Shifts of int64 carry the sign along: the masks keep the bits that an unsigned shift would.
    z += _GAMMA
    z ^= (z >> 30).bitwise_and_((1 << 34) - 1)
    z *= _signed(0xBF58476D1CE4E5B9)
    z ^= (z >> 27).bitwise_and_((1 << 37) - 1)
    z *= _signed(0x94D049BB133111EB)
    z ^= (z >> 31).bitwise_and_((1 << 33) - 1)


def _as_bits(values: Tensor) -> Tensor:
    """Values as int64 that are equal exactly where the values are equal bit for bit."""
    if values.is_floating_point():
        bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
        return values.contiguous().view(bits).to(torch.int64)
    return values.to(torch.int64)


def _first_of_equal(hash_N: Tensor) -> Tensor:
    """For each entry the place of the first entry that equals it."""
    ordered, order = torch.sort(hash_N, stable=True)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    segment = begins.cumsum(0) - 1
    first = torch.empty_like(order)
    first[order] = order[begins][segment]
    return first


def _equal_samples(kjt: KeyedJaggedTensor, left_N: Tensor, right_N: Tensor) -> Tensor:
    """Whether samples are equal in every key, bit for bit: bool [N]."""
    base_F1 = torch.arange(len(kjt.keys), device=kjt.device).unsqueeze(1) * kjt.num_samples
    left_FN, right_FN = (base_F1 + left_N).flatten(), (base_F1 + right_N).flatten()
    lengths_L = kjt.lengths()
    length_FN = lengths_L[left_FN]
    equal_FN = length_FN == lengths_L[right_FN]
    compared_FN = length_FN * (equal_FN & (left_FN != right_FN))
    left_P, offsets = window_positions(kjt.offsets[left_FN], compared_FN)
    right_P, _ = window_positions(kjt.offsets[right_FN], compared_FN)
    bits = _as_bits(kjt.values)
    differs_P = bits[left_P] != bits[right_P]
    if kjt.weights is not None:
        bits = _as_bits(kjt.weights)
        differs_P |= bits[left_P] != bits[right_P]
    running = offsets_of(differs_P.to(torch.int64))
    equal_FN &= running[offsets[1:]] == running[offsets[:-1]]
    return equal_FN.view(len(kjt.keys), -1).all(0)
