"""What training makes dearer than a cost of whole tables says: pieces that are not served by the fused kernel.

* A column piece of a table whose update rule looks at whole rows (row-wise AdaGrad) is served by torch, which adds up
  squares over the pieces of a row.
* A replicated table is served by torch too, and each rank updates the rows that any rank has touched.

Both are a cost of the piece alone times torch / fused, both by the formula, fitted to the same pieces on one machine.
They add up: torch serves one table after the other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recfold.plan.cost.analytic import AnalyticCost, terms, terms_of
from recfold.plan.cost.cost import Cost
from recfold.plan.piece import NUM_BINS, Piece

SHIPPED = Path(__file__).with_name("models") / "torch_kernel.json"
"""What `docs/make_torch_cost.py` writes."""


@dataclass(frozen=True)
class KernelRatio:
    """Torch against the fused kernel.

    Args:
        torch, fused: the formula fitted to either, on one machine.
        torch_forward, fused_forward: of the milliseconds of each, the share of the lookup.
    """

    torch: AnalyticCost
    fused: AnalyticCost
    torch_forward: float
    fused_forward: float

    def of(self, pieces: Sequence[Piece]) -> np.ndarray:
        """How many times a piece costs what the fused kernel would take, float64 [P]; at least 1.

        Of a replica what it does with the rows that other ranks touched is counted.
        """
        plain = terms(pieces)
        ms = self.torch.ms(self.torch.rows_of(plain))
        rows = np.array([(piece.copies - 1) * piece.touched_rows for piece in pieces])
        once = np.tile(np.eye(1, NUM_BINS), (len(pieces), 1))
        updates = terms_of(np.array([float(piece.dim) for piece in pieces]), rows, rows, once)
        updates[:, 0] = 0
        ms = ms + (1 - self.torch_forward) * self.torch.ms(self.torch.rows_of(updates))
        return np.maximum(ms / np.maximum(self.fused.ms(self.fused.rows_of(plain)), 1e-9), 1.0)


@cache
def shipped_ratio() -> KernelRatio:
    """The ratio that comes with the package."""
    facts: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    torch, fused = (
        AnalyticCost(tuple(facts[name]["ns"]), float(facts[name]["cache_bytes"])) for name in ("torch", "fbgemm")
    )
    return KernelRatio(torch, fused, *(float(facts[name]["forward_share"]) for name in ("torch", "fbgemm")))


@dataclass(frozen=True)
class AsTrained:
    """A cost of pieces under the fused kernel, with torch's for those that training gives to torch.

    Args:
        compute: of the fused kernel.
        by_row: tables whose update rule looks at whole rows.
        ratio: of the two kernels.
    """

    compute: Cost
    by_row: frozenset[str]
    ratio: KernelRatio

    @property
    def name(self) -> str:
        """Of the cost of the fused kernel."""
        return self.compute.name

    def on_torch(self, piece: Piece) -> bool:
        """Whether training serves it with torch."""
        return piece.copies > 1 or (piece.dim < piece.table.dim and piece.table.name in self.by_row)

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """Those of `compute`, zeros where torch serves a piece, and torch's milliseconds, [P, K + 1]."""
        rows = self.compute.rows(pieces)
        extra = np.zeros(len(pieces))
        slow = np.array([self.on_torch(piece) for piece in pieces], dtype=bool)
        if slow.any():
            own = [piece for piece, is_slow in zip(pieces, slow.tolist(), strict=True) if is_slow]
            extra[slow] = self.compute.ms(rows[slow]) * self.ratio.of(own)
            rows = np.where(slow[:, None], 0.0, rows)
        return np.column_stack([rows, extra])

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M]."""
        return self.compute.ms(sums[:, :-1]) + sums[:, -1]
