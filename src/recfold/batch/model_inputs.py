"""ModelInputs: everything a model reads of a batch, after the lookups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from recfold.batch.folded import Folded, TensorLike
from recfold.batch.folded_sequence import FoldedSequence
from recfold.batch.lazy_features import LazyFeatures
from recfold.spec import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class ModelInputs:
    """Looked-up and dense features of B samples: ordinary tensors, and Folded ones that take their place.

    Looked-up features may be `LazyFeatures`: rows that are still on their way, and are waited for when a model first
    looks at one of them.

    Args:
        pooled: id feature -> its pooled rows [B, D].
        sequences: group -> feature -> its rows, one per id.
        dense: dense feature -> values [B, width].
        dense_sequences: group -> feature -> values, rows [V, 1].
        num_samples: B.
        weights: id feature -> its ids' first-order weights, pooled [B, labels].
    Raises:
        InputError: a feature of another number of samples.

    Example:
        >>> import torch
        >>> from recfold.batch import FoldIndex
        >>> index = FoldIndex(torch.tensor([0, 0, 1]), 2)
        >>> inputs = ModelInputs({}, {}, {"age": Folded(torch.tensor([[20.0], [30.0]]), index)}, {}, num_samples=3)
        >>> inputs.unfold().dense["age"].flatten().tolist()
        [20.0, 20.0, 30.0]
    """

    pooled: Mapping[str, Tensor | Folded]
    sequences: Mapping[str, Mapping[str, FoldedSequence]]
    dense: Mapping[str, Tensor | Folded]
    dense_sequences: Mapping[str, Mapping[str, FoldedSequence]]
    num_samples: int
    weights: Mapping[str, Tensor | Folded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        there = [own for own in (self.weights, self.pooled, self.dense) if not isinstance(own, LazyFeatures)]
        found = {name: feature.shape[0] for own in there for name, feature in own.items()}
        for sequences in (self.sequences, self.dense_sequences):
            for group in () if isinstance(sequences, LazyFeatures) else sequences.values():
                found |= {name: feature.num_samples for name, feature in group.items()}
        for name, num_samples in found.items():
            if num_samples != self.num_samples:
                raise InputError(
                    f"feature {name!r} has another number of samples than the model's inputs",
                    got=num_samples,
                    expected=self.num_samples,
                )

    def unfold(self) -> "ModelInputs":
        """The same inputs as ordinary tensors, written out for every sample: what an ordinary network trains on."""
        return ModelInputs(
            _mapped(self.pooled, _unfolded),
            _mapped(self.sequences, _unfolded_groups),
            _unfolded(self.dense),
            _unfolded_groups(self.dense_sequences),
            self.num_samples,
            _mapped(self.weights, _unfolded),
        )


def _mapped(features: Mapping[str, T], change: Callable[[Mapping[str, T]], Mapping[str, T]]) -> Mapping[str, T]:
    """Changed features; what is on its way is changed when it is there."""
    if isinstance(features, LazyFeatures):
        return LazyFeatures(tuple(features), lambda: change(features))
    return change(features)


def _unfolded_groups(groups: Mapping[str, Mapping[str, FoldedSequence]]) -> dict[str, Mapping[str, FoldedSequence]]:
    return {group: _unfolded_sequences(features) for group, features in groups.items()}


def _unfolded(features: Mapping[str, Tensor | Folded]) -> dict[str, Tensor | Folded]:
    return {name: value.unfold() if isinstance(value, TensorLike) else value for name, value in features.items()}


def _unfolded_sequences(features: Mapping[str, FoldedSequence]) -> dict[str, FoldedSequence]:
    return {name: feature.unfold() for name, feature in features.items()}
