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
    """Pooled features that a model needs only in sums over features, which ranks can add up from their own rows.

    Args:
        name: of the sum [U, D]; the other outputs are named after it.
        features: of one batch group, of equally wide tables (of any width where only `product` is wanted).
        total: whether the sum itself is needed.
        squares: sum of squares of each feature's pooled row (`fields`), or of each id's row times its weight (`ids`),
            which is what a mean counts each id with too.
        norm: squares are summed over columns too: one number, [U, 1].
        product: H: a matrix [H, width] times the features' rows side by side, [U, H]; 0 for none.
    """

    name: str
    features: tuple[str, ...] = Field(min_length=1)
    total: bool = True
    squares: Literal["fields", "ids"] | None = None
    norm: bool = False
    product: int = Field(default=0, ge=0)

    @property
    def squares_name(self) -> str:
        return f"{self.name}.squares"

    @property
    def product_name(self) -> str:
        return f"{self.name}.product"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        wanted = (
            (self.name, self.total),
            (self.squares_name, self.squares is not None),
            (self.product_name, self.product > 0),
        )
        return tuple(name for name, is_wanted in wanted if is_wanted)

    def width(self, output: str, dim: int) -> int:
        """Numbers a list of one of its outputs, of so many columns of its tables."""
        if output == self.product_name:
            return self.product
        return 1 if output == self.squares_name and self.norm else dim

    @property
    def adds_columns(self) -> bool:
        """Whether columns of a table stay apart: those that a rank holds travel as so many numbers."""
        return self.total or (self.squares is not None and not self.norm)


class Operator(Settings):
    """What a model computes of looked-up rows that parts of the rows, added up, give too; nothing else of it reads
    these rows.

    Args:
        name: as users read it.
        of: `vectors` or first-order `weights` of the features.
        features: in the order of `columns`.
        total, squares, norm: as of a `FieldSum`.
        parameter: of the model: a matrix [H, width] that multiplies the features' rows side by side; "" for none.
        product: H.
        columns: feature -> its columns of the matrix.
    """

    name: str
    of: Literal["vectors", "weights"]
    features: tuple[str, ...]
    total: bool = False
    squares: Literal["fields", "ids"] | None = None
    norm: bool = False
    parameter: str = ""
    product: int = Field(default=0, ge=0)
    columns: dict[str, tuple[int, int]] = Field(default_factory=dict)
