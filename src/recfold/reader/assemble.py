"""Named arrays to a `Batch`: no copy, numpy buffers become tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recfold.batch import Batch, FoldIndex, Group, InverseKeyedJaggedTensor
from recfold.reader.cut import Arrays
from recfold.reader.layout import GroupLayout, Layout


def assemble(layout: Layout, arrays: Arrays) -> Batch:
    """The batch that `cut_batch` cut."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    num_samples = len(tensors["labels"])
    return Batch(
        groups={group.name: _group(group, tensors, num_samples) for group in layout.groups},
        labels=tensors["labels"],
        label_names=layout.labels,
        weight=tensors.get("weight"),
        keys={name.removeprefix("key."): tensor for name, tensor in tensors.items() if name.startswith("key.")},
    )


def empty_arrays(layout: Layout, keys: Sequence[str], weighted: bool) -> Arrays:
    """The arrays of a batch without samples, for a rank that has run out while others have not.

    Args:
        keys: that the batches of this table have.
        weighted: whether they have sample weights.
    """
    arrays: Arrays = {"labels": np.empty((0, len(layout.labels)), dtype=np.float32)}
    arrays |= {f"key.{name}": np.empty(0, dtype=np.int64) for name in keys}
    if weighted:
        arrays["weight"] = np.empty(0, dtype=np.float32)
    for group in layout.groups:
        if group.dense:
            arrays[f"{group.name}/dense"] = np.empty((0, sum(group.widths)), dtype=np.float32)
        if group.lists:
            arrays[f"{group.name}/lists.values"] = np.empty(0, dtype=np.int64)
            arrays[f"{group.name}/lists.offsets"] = np.zeros(1, dtype=np.int64)
            if group.weighted:
                arrays[f"{group.name}/lists.weights"] = np.empty(0, dtype=np.float32)
        if group.dense_lists:
            arrays[f"{group.name}/dense_lists.values"] = np.empty(0, dtype=np.float32)
            arrays[f"{group.name}/dense_lists.offsets"] = np.zeros(1, dtype=np.int64)
    return arrays


def _group(group: GroupLayout, tensors: dict[str, Tensor], num_samples: int) -> Group:
    inverse = tensors.get(f"{group.name}/inverse")
    num_distinct = _num_distinct(group, tensors, num_samples)
    if inverse is not None and num_distinct == num_samples and torch.equal(inverse, torch.arange(num_samples)):
        inverse = None  # nothing repeats: then nothing is to be copied out either
    index = FoldIndex(inverse, num_distinct, validate=False)

    def lists(part: str, keys: tuple[str, ...]) -> InverseKeyedJaggedTensor | None:
        if not keys:
            return None
        return InverseKeyedJaggedTensor(
            keys,
            tensors[f"{group.name}/{part}.values"],
            tensors[f"{group.name}/{part}.offsets"],
            index,
            tensors.get(f"{group.name}/{part}.weights"),
            start=tensors.get(f"{group.name}/start"),
            length=tensors.get(f"{group.name}/length"),
            validate=False,
        )

    return Group(
        index=index,
        lists=lists("lists", group.lists),
        dense_lists=lists("dense_lists", group.dense_lists),
        dense=tensors.get(f"{group.name}/dense"),
        dense_keys=group.dense,
        dense_widths=group.widths,
    )


def _num_distinct(group: GroupLayout, tensors: dict[str, Tensor], num_samples: int) -> int:
    if f"{group.name}/inverse" not in tensors:
        return num_samples
    if f"{group.name}/start" in tensors:
        return len(tensors[f"{group.name}/start"])
    if group.dense:
        return len(tensors[f"{group.name}/dense"])
    part, keys = ("lists", group.lists) if group.lists else ("dense_lists", group.dense_lists)
    return (len(tensors[f"{group.name}/{part}.offsets"]) - 1) // len(keys)
