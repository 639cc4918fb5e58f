"""How a model reads embedding tables: the noun that models and tables share."""

from typing import Literal

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
