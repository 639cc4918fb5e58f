"""Added: looked-up rows of several features of which a model gets only what they add up to."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from recfold.batch.folded import Folded, TensorLike

Of = Literal["vectors", "weights"]


@dataclass(frozen=True)
class Added:
    """What stands for the rows of some features where these rows are not there themselves.

    Args:
        of: their vectors, or their first-order weights.
        features: which.
        total: their sum [B, D].
        squares: sum of the squares, [B, D], or [B, 1] where they are summed over columns too.
        product: a matrix times their rows side by side, [B, H].
    """

    of: Of
    features: tuple[str, ...]
    total: Tensor | Folded | None = None
    squares: Tensor | Folded | None = None
    product: Tensor | Folded | None = None

    @property
    def tensors(self) -> dict[str, Tensor | Folded]:
        """What is there, with names for messages."""
        named = {"sum": self.total, "squares": self.squares, "product": self.product}
        return {f"{what} of {self.features[0]}, ...": own for what, own in named.items() if own is not None}

    def unfold(self) -> "Added":
        """The same for every sample."""
        return Added(self.of, self.features, _plain(self.total), _plain(self.squares), _plain(self.product))


def terms(
    added: Sequence[Added],
    of: Of,
    features: Collection[str],
    part: Callable[[Added], Any],
    rows: Mapping[str, Any],
    each: Callable[[Any], Any] = lambda row: row,
) -> list[Any]:
    """What adds up to something over features: of each one that is there by itself, and of those that are added up.

    Args:
        part: what an `Added` gives of it.
        rows: feature -> its own rows; each: what one of them gives.
    """
    covered = {name for own in added if own.of == of for name in own.features}
    alone = [each(rows[name]) for name in features if name not in covered]
    return alone + [part(own) for own in added if own.of == of]


def _plain(value: Tensor | Folded | None) -> Any:
    return value.unfold() if isinstance(value, TensorLike) else value
