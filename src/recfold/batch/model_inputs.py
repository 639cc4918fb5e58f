"""ModelInputs: everything a model reads of a batch, after the lookups."""

from collections.abc import Mapping
from dataclasses import dataclass

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded import Folded
from recfold.batch.folded_sequence import FoldedSequence
from recfold.spec import InputError


@dataclass(frozen=True)
class ModelInputs:
    """Looked-up and dense features of B samples.

    Args:
        pooled: id feature -> its pooled rows [U, D].
        sequences: group -> feature -> its rows, one per id.
        dense: dense feature -> values [U, width].
        dense_sequences: group -> feature -> values, rows [V, 1].
        num_samples: B.
    Raises:
        InputError: a feature of another number of samples.

    Example:
        >>> import torch
        >>> index = FoldIndex(torch.tensor([0, 0, 1]), 2)
        >>> inputs = ModelInputs({}, {}, {"age": Folded(torch.tensor([[20.0], [30.0]]), index)}, {}, num_samples=3)
        >>> inputs.unfold().dense["age"].values.flatten().tolist()
        [20.0, 20.0, 30.0]
    """

    pooled: Mapping[str, Folded]
    sequences: Mapping[str, Mapping[str, FoldedSequence]]
    dense: Mapping[str, Folded]
    dense_sequences: Mapping[str, Mapping[str, FoldedSequence]]
    num_samples: int

    def __post_init__(self) -> None:
        features: dict[str, Folded | FoldedSequence] = {**self.pooled, **self.dense}
        for group in (*self.sequences.values(), *self.dense_sequences.values()):
            features.update(group)
        for name, feature in features.items():
            if feature.num_samples != self.num_samples:
                raise InputError(
                    f"feature {name!r} has another number of samples than the model's inputs",
                    got=feature.num_samples,
                    expected=self.num_samples,
                )

    def unfold(self) -> "ModelInputs":
        """The same inputs written out for every sample, under identity indexes: what an ordinary network trains on."""
        return ModelInputs(
            _unfolded(self.pooled),
            {group: _unfolded_sequences(features) for group, features in self.sequences.items()},
            _unfolded(self.dense),
            {group: _unfolded_sequences(features) for group, features in self.dense_sequences.items()},
            self.num_samples,
        )


def _unfolded(features: Mapping[str, Folded]) -> dict[str, Folded]:
    plain = {}
    for name, feature in features.items():
        values = feature.unfold()
        plain[name] = feature if feature.index.is_identity else Folded(values, FoldIndex.identity(len(values)))
    return plain


def _unfolded_sequences(features: Mapping[str, FoldedSequence]) -> dict[str, FoldedSequence]:
    return {name: feature.unfold() for name, feature in features.items()}
