"""Folded: a dense tensor held once per distinct row."""

from dataclasses import dataclass

from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.spec import InputError


@dataclass(frozen=True)
class Folded:
    """Stands for the [B, ...] tensor `values[inverse]`.

    Args:
        values: [U, ...].
        index: of U distinct rows.
    Raises:
        InputError: the index is over another number of rows.

    Example:
        >>> import torch
        >>> Folded(torch.tensor([[1.0], [2.0]]), FoldIndex(torch.tensor([1, 1, 0]), 2)).unfold().flatten().tolist()
        [2.0, 2.0, 1.0]
    """

    values: Tensor
    index: FoldIndex

    def __post_init__(self) -> None:
        if self.values.dim() == 0 or len(self.values) != self.index.num_distinct:
            raise InputError(
                "values of a Folded do not fit its index",
                got=f"shape {list(self.values.shape)}",
                expected=f"{self.index.num_distinct} rows",
            )

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def num_distinct(self) -> int:
        return self.index.num_distinct

    def unfold(self) -> Tensor:
        """The tensor it stands for, [B, ...]; differentiable, see `FoldIndex.unfold`."""
        return self.index.unfold(self.values)
