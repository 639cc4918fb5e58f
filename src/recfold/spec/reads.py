"""How a model reads embedding tables: the noun that models and tables share."""

from typing import Literal

from pydantic import Field

from recfold.spec.settings import Settings

ReadMode = Literal["sum", "mean", "rows"]


class Read(Settings):
    """One feature looked up in one table.

    Args:
        feature: name of the id feature.
        table: name of the embedding table.
        mode: `sum` or `mean` pool the rows of each list; `rows` gives one row per id (a sequence).
    """

    feature: str
    table: str
    mode: ReadMode


class FieldSum(Settings):
    """Pooled features that a model needs only as their sum over features (and the sum of their squares).

    Args:
        name: of the sum; the sum of squares is `squares_name`.
        features: of one batch group, of equally wide tables.
        squares: whether the sum of squares is needed too.
    """

    name: str
    features: tuple[str, ...] = Field(min_length=1)
    squares: bool = False

    @property
    def squares_name(self) -> str:
        return f"{self.name}.squares"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return (self.name, self.squares_name) if self.squares else (self.name,)
