"""Batch: what the reader hands to training."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recfold.batch.checks import check_devices, check_range
from recfold.batch.group import Group
from recfold.batch.stats import FoldStats
from recfold.spec import InputError


@dataclass(frozen=True)
class Batch:
    """B samples, folded.

    Args:
        groups: name -> group; 'sample' holds what is stored once per sample, under the identity index.
        labels: floats [B, L].
        label_names: names of the L labels.
        weight: floats [B], the samples' weights in the loss; None for 1.
        keys: name (request, session, user, candidate, position, time) -> int64 [B]; strings as the bits of xxh64.
    Raises:
        InputError: tensors of another number of samples, or a wrong number of labels.

    Example:
        >>> from recfold.batch import FoldIndex
        >>> group = Group(FoldIndex(torch.tensor([0, 0, 1]), 2), dense=torch.ones(2, 1),
        ...               dense_keys=("age",), dense_widths=(1,))
        >>> batch = Batch({"user": group}, labels=torch.zeros(3, 1), label_names=("click",))
        >>> batch.num_samples, batch.stats()["user"].dedup_factor
        (3, 1.5)
    """

    groups: dict[str, Group]
    labels: Tensor
    label_names: tuple[str, ...]
    weight: Tensor | None = None
    keys: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels.dim() != 2 or self.labels.shape[1] != len(self.label_names):
            raise InputError(
                "labels of a batch have a wrong shape",
                got=list(self.labels.shape),
                expected=f"[samples, {len(self.label_names)}], one column per label name",
            )
        for name, group in self.groups.items():
            if group.num_samples != self.num_samples:
                raise InputError(
                    f"group {name!r} has another number of samples than the labels",
                    got=group.num_samples,
                    expected=self.num_samples,
                )
        per_sample = {"weight": self.weight, **self.keys}
        for name, tensor in per_sample.items():
            if tensor is not None and list(tensor.shape) != [self.num_samples]:
                raise InputError(
                    f"{name!r} of a batch has a wrong shape", got=list(tensor.shape), expected=[self.num_samples]
                )
        check_devices("a batch", labels=self.labels, **per_sample)
        self._mark_indexes()

    def _mark_indexes(self) -> None:
        """Let the groups' indexes know that they belong together, so that those of two batches are not mixed."""
        indexes = [group.index for group in self.groups.values()]
        mark = next((index.batch for index in indexes if index.batch is not None), None) or object()
        for index in indexes:
            if index.batch is None:
                index.batch = mark

    @property
    def num_samples(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def expand(self) -> "Batch":
        """The plain form: every group under the identity index, lists, windows and dense values written out."""
        return self._with({name: group.expand() for name, group in self.groups.items()})

    def slice(self, start: int, stop: int) -> "Batch":
        """Samples [start, stop), with only the lists and merged positions that one of them uses.

        Raises:
            InputError: the range is not inside the batch.
        """
        check_range("the batch", start, stop, self.num_samples)
        return Batch(
            {name: group.slice(start, stop) for name, group in self.groups.items()},
            self.labels[start:stop],
            self.label_names,
            None if self.weight is None else self.weight[start:stop],
            {name: key[start:stop] for name, key in self.keys.items()},
        )

    @staticmethod
    def concat(batches: Sequence["Batch"]) -> "Batch":
        """The samples of all batches, one after the other. Lists are not compared across batches.

        Raises:
            InputError: there are none, or they hold different groups, features, labels, weights or keys.
        """
        if not batches:
            raise InputError("there is nothing to concatenate", todo="give at least one batch")
        first = batches[0]
        for number, batch in enumerate(batches):
            for what, own, theirs in (
                ("groups", list(batch.groups), list(first.groups)),
                ("labels", list(batch.label_names), list(first.label_names)),
                ("keys", sorted(batch.keys), sorted(first.keys)),
                ("weights", batch.weight is not None, first.weight is not None),
            ):
                if own != theirs:
                    raise InputError(
                        f"batch {number} to concatenate has other {what} than batch 0", got=own, expected=theirs
                    )
        weights = [batch.weight for batch in batches if batch.weight is not None]
        return Batch(
            {name: Group.concat([batch.groups[name] for batch in batches]) for name in first.groups},
            torch.cat([batch.labels for batch in batches]),
            first.label_names,
            torch.cat(weights) if weights else None,
            {name: torch.cat([batch.keys[name] for batch in batches]) for name in first.keys},
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The same batch on a device."""
        return Batch(
            {name: group.to(device, non_blocking=non_blocking) for name, group in self.groups.items()},
            self.labels.to(device, non_blocking=non_blocking),
            self.label_names,
            None if self.weight is None else self.weight.to(device, non_blocking=non_blocking),
            {name: key.to(device, non_blocking=non_blocking) for name, key in self.keys.items()},
        )

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; itself where there is no CUDA device to copy to."""
        if not torch.cuda.is_available():
            return self
        return Batch(
            {name: group.pin_memory() for name, group in self.groups.items()},
            self.labels.pin_memory(),
            self.label_names,
            None if self.weight is None else self.weight.pin_memory(),
            {name: key.pin_memory() for name, key in self.keys.items()},
        )

    def stats(self) -> dict[str, FoldStats]:
        """What folding saved, per group."""
        return {name: group.stats() for name, group in self.groups.items()}

    def _with(self, groups: dict[str, Group]) -> "Batch":
        return Batch(groups, self.labels, self.label_names, self.weight, self.keys)
