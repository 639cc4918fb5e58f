"""What a search has to know of a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableSize:
    """A table's rows, dim, and bytes of a row with what its optimizer keeps of it.

    >>> TableSize(rows=10, dim=4, row_bytes=20).num_bytes
    200
    """

    rows: int
    dim: int
    row_bytes: int

    @property
    def num_bytes(self) -> int:
        return self.rows * self.row_bytes
