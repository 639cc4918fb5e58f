"""Find which samples of a KeyedJaggedTensor repeat: by hash, on the tensor's own device, verified bit for bit."""

from collections.abc import Callable

import torch
from torch import Tensor

from recfold.batch.jagged import offsets_of, window_positions
from recfold.batch.kjt import KeyedJaggedTensor

SampleHash = Callable[[KeyedJaggedTensor], Tensor]

_MASK_34, _MASK_37, _MASK_33 = (1 << 34) - 1, (1 << 37) - 1, (1 << 33) - 1


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
    lengths_L = kjt.lengths()
    list_V = torch.repeat_interleave(
        torch.arange(len(lengths_L), device=kjt.device), lengths_L, output_size=len(kjt.values)
    )
    place_V = torch.arange(len(kjt.values), device=kjt.device) - kjt.offsets[list_V]
    mixed_V = splitmix64_tensor(_as_bits(kjt.values) ^ splitmix64_tensor(place_V))
    if kjt.weights is not None:
        mixed_V = splitmix64_tensor(mixed_V ^ splitmix64_tensor(~_as_bits(kjt.weights)))
    running = offsets_of(mixed_V)
    list_L = running[kjt.offsets[1:]] - running[kjt.offsets[:-1]]
    list_L = splitmix64_tensor(list_L ^ splitmix64_tensor(lengths_L))
    per_key_FB = list_L.view(len(kjt.keys), -1)
    key_F1 = torch.arange(len(kjt.keys), device=kjt.device).unsqueeze(1)
    return splitmix64_tensor(per_key_FB ^ splitmix64_tensor(key_F1)).sum(0)


def splitmix64_tensor(values: Tensor) -> Tensor:
    """One splitmix64 step of each int64, as `recfold.spec.splitmix64` on arrays (two's complement)."""
    z = values + _signed(0x9E3779B97F4A7C15)
    z = (z ^ ((z >> 30) & _MASK_34)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ ((z >> 27) & _MASK_37)) * _signed(0x94D049BB133111EB)
    return z ^ ((z >> 31) & _MASK_33)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


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
