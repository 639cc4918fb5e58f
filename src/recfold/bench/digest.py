"""What a sample of a batch holds, in 64 bits: batches in another order can be compared sample by sample.

Legend: B samples.
"""

import torch
from torch import Tensor

from recfold.batch import Batch, KeyedJaggedTensor
from recfold.batch.fold_lists import hash_samples, splitmix64_tensor
from recfold.spec import xxh64_strings


def sample_digests(batch: Batch) -> Tensor:
    """A hash of each sample's keys, labels and expanded, transformed features by name: int64 [B].

    In which group or at which place of a batch a feature lies makes no difference.
    """
    plain = batch.expand()
    digest_B = torch.zeros(batch.num_samples, dtype=torch.int64)
    for name, key_B in plain.keys.items():
        digest_B += _named(f"key {name}", key_B)
    for number, name in enumerate(plain.label_names):
        digest_B += _named(f"label {name}", _row_hash(plain.labels[:, number : number + 1]))
    for group in plain.groups.values():
        for lists in (group.lists, group.dense_lists):
            if lists is None:
                continue
            for key in lists.keys:
                values, offsets, weights = lists.bags(key)
                kjt = KeyedJaggedTensor((key,), values, offsets, weights, validate=False)
                digest_B += _named(key, hash_samples(kjt))
        for key in group.dense_keys:
            digest_B += _named(key, _row_hash(group.dense_of(key)))
    return digest_B


def _named(name: str, value_B: Tensor) -> Tensor:
    salt = int(xxh64_strings([name]).view("int64")[0])
    return splitmix64_tensor(value_B ^ salt)


def _row_hash(values_BW: Tensor) -> Tensor:
    """Of the bits of each row."""
    num_rows, width = values_BW.shape
    offsets = torch.arange(num_rows + 1) * width
    return hash_samples(KeyedJaggedTensor(("",), values_BW.flatten(), offsets, validate=False))
