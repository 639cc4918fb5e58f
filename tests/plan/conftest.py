"""A cost of the same shape as the shipped ones: a sum over pieces, then a function of the sum that is not linear."""

from collections.abc import Sequence

import numpy as np
import pytest

from recfold.plan.cost import Cost
from recfold.plan.piece import Piece


class ConcaveCost:
    """Of a set: something for being there, something for each list and piece, and lookups that get cheaper together."""

    name = "concave"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        return np.array(
            [
                [piece.lookups * (piece.dim + 8) / 1e6, piece.lists * piece.dim / 1e6, 1.0, piece.num_bytes / 1e9]
                for piece in pieces
            ]
        ).reshape(-1, 4)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        looked_up, sent, pieces, gigabytes = np.maximum(sums, 0).T
        return 0.2 + 0.6 * looked_up**0.9 + 0.1 * sent + 0.01 * pieces + 0.1 * np.sqrt(gigabytes)


class BytesCost:
    """Gigabytes: additive."""

    name = "bytes"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        return np.array([[piece.num_bytes / 1e9] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        return sums[:, 0]


class NeuralShaped:
    """Random weights in the shape of the neural cost, 21-128-32, sum, 32-64-1; for times, not for plans."""

    name = "neural-shaped"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = [
            rng.standard_normal(shape) / shape[0] ** 0.5 for shape in ((21, 128), (128, 32), (32, 64), (64, 1))
        ]

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        features = np.stack([np.log1p(piece.features) for piece in pieces])
        return np.maximum(np.maximum(features @ self.weights[0], 0) @ self.weights[1], 0)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        return sums.sum(1) / 100 + (np.maximum(sums @ self.weights[2], 0) @ self.weights[3])[:, 0] ** 2 / 1e4


@pytest.fixture(scope="session")
def cost() -> Cost:
    return ConcaveCost()


@pytest.fixture(scope="session")
def byte_cost() -> Cost:
    return BytesCost()
