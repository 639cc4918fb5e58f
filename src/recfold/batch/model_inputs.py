"""ModelInputs: everything a model reads of a batch, after the lookups."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from recfold.batch.added import Added, terms
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
        squares: id feature -> sum over its ids of their vectors' squares [B, D] (or over columns too [B, 1]), for
            models that count ids one by one.
        added: features whose vectors or weights are there as their sum only; the methods below know.
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
    squares: Mapping[str, Tensor | Folded] = field(default_factory=dict)
    added: tuple[Added, ...] = ()

    def __post_init__(self) -> None:
        every = (self.weights, self.pooled, self.squares, self.dense, *(own.tensors for own in self.added))
        there = [own for own in every if not isinstance(own, LazyFeatures)]
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

    def weight_terms(self, features: Collection[str]) -> list[Any]:
        """Terms [B, labels] that add up to the sum of the features' first-order weights."""
        return terms(self.added, "weights", features, lambda own: own.total, self.weights)

    def vector_terms(self, features: Collection[str]) -> list[Any]:
        """Terms [B, D] that add up to the sum of the features' vectors."""
        return terms(self.added, "vectors", features, lambda own: own.total, self.pooled)

    def square_terms(self, features: Collection[str], *, of_ids: bool, norm: bool) -> list[Any]:
        """Terms [B, D] that add up to the sum of the squares of the features' vectors, or of each id's.

        Args:
            norm: summed over columns too, [B, 1].
        """

        def square(rows_BD: Any) -> Any:
            squares_BD = rows_BD if of_ids else rows_BD.square()
            return squares_BD.sum(1, keepdim=True) if norm and squares_BD.shape[1] > 1 else squares_BD

        rows = self.squares if of_ids else self.pooled
        return terms(self.added, "vectors", features, lambda own: own.squares, rows, square)

    def products(self) -> tuple[list[Any], frozenset[str]]:
        """Products [B, H] of a matrix with the vectors of features that are added up, and these features."""
        found = [own for own in self.added if own.product is not None]
        return [own.product for own in found], frozenset(name for own in found for name in own.features)

    def unfold(self) -> "ModelInputs":
        """The same inputs as ordinary tensors, written out for every sample: what an ordinary network trains on."""
        return ModelInputs(
            _mapped(self.pooled, _unfolded),
            _mapped(self.sequences, _unfolded_groups),
            _unfolded(self.dense),
            _unfolded_groups(self.dense_sequences),
            self.num_samples,
            _mapped(self.weights, _unfolded),
            _mapped(self.squares, _unfolded),
            tuple(own.unfold() for own in self.added),
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
