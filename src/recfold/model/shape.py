"""InputShape: what a model has to know of its inputs before it sees any."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from recfold.spec import InputError


@dataclass(frozen=True)
class InputShape:
    """Names and widths of everything that `ModelInputs` will hold.

    Args:
        pooled: id feature -> dim of its table.
        sequences: group -> sequence feature -> dim of its table.
        dense: dense feature -> width.
        dense_sequences: group -> its sequences of floats.
        num_labels: logits per sample.
        weights: id features that have a weight for each id (and label) beside their vectors, in `ModelInputs.weights`.
        targets: group of histories -> id features that read a table of its histories: what target attention compares
            them with.
    """

    pooled: Mapping[str, int]
    sequences: Mapping[str, Mapping[str, int]]
    dense: Mapping[str, int]
    dense_sequences: Mapping[str, tuple[str, ...]]
    num_labels: int
    weights: tuple[str, ...] = ()
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def common_dim(self) -> int:
        """The dim that most features have (the larger of equally frequent ones), which vectors interact in.

        Raises:
            InputError: no feature looks up a table.
        """
        dims = Counter([*self.pooled.values(), *(dim for group in self.sequences.values() for dim in group.values())])
        if not dims:
            raise InputError("the model has no id feature to look up", todo="add one, or bucketize a dense feature")
        return max(dims, key=lambda dim: (dims[dim], dim))


def keyed(name: str) -> str:
    """Key of a feature or group in a `ModuleDict`, which refuses names of its own methods such as 'keys'."""
    return f"of_{name}"
