"""ModelInputs: everything a model reads of a batch, after the lookups."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from recfold.batch.folded import Folded, TensorLike
from recfold.batch.folded_sequence import FoldedSequence
from recfold.spec import InputError


@dataclass(frozen=True)
class ModelInputs:
    """Looked-up and dense features of B samples: ordinary tensors, and Folded ones that take their place.

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
        flat = (*self.weights.items(), *self.pooled.items(), *self.dense.items())
        found = {name: feature.shape[0] for name, feature in flat}
        for group in (*self.sequences.values(), *self.dense_sequences.values()):
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
            _unfolded(self.pooled),
            {group: _unfolded_sequences(features) for group, features in self.sequences.items()},
            _unfolded(self.dense),
            {group: _unfolded_sequences(features) for group, features in self.dense_sequences.items()},
            self.num_samples,
            _unfolded(self.weights),
        )


def _unfolded(features: Mapping[str, Tensor | Folded]) -> dict[str, Tensor | Folded]:
    return {name: value.unfold() if isinstance(value, TensorLike) else value for name, value in features.items()}


def _unfolded_sequences(features: Mapping[str, FoldedSequence]) -> dict[str, FoldedSequence]:
    return {name: feature.unfold() for name, feature in features.items()}
