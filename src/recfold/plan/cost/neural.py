"""The trained cost network in numpy: two matrix products rate thousands of sets.

A file holds the network, the constants of the analytic formula that scales its pieces, and, where they were measured,
the heads of the exchange; beside it lies what it was fitted on and how far it errs.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recfold.plan.cost.analytic import AnalyticCost, terms_of
from recfold.plan.cost.inputs import inputs_of
from recfold.plan.cost.network import BOUND, FURTHEST, LEAST_MS, WIDTH
from recfold.plan.cost.samples import piece_columns
from recfold.plan.piece import Piece
from recfold.spec import InputError

SHIPPED = Path(__file__).with_name("models") / "cpu.safetensors"
"""Fitted on the hardware that the JSON file beside it names."""

SUFFIX = ".safetensors"

LAYERS = tuple(f"{layer}.{what}" for layer in (0, 2) for what in ("weight", "bias"))
ARRAYS = ("mean", "std", *(f"{part}.{layer}" for part in ("pieces", "head") for layer in LAYERS))
ANALYTIC = ("analytic.ns", "analytic.cache_bytes")


@dataclass(frozen=True, eq=False)
class NeuralCost:
    """Milliseconds of lookup, backward and update of a set of pieces.

    Args:
        arrays: of the network, float32, named as in torch's state dict.
        analytic: scales pieces.
        facts: `hardware` it was fitted on, `error`, `repeat_noise`, ...
        exchange: arrays of `NeuralExchange`; empty where no exchange was measured.
    """

    arrays: Mapping[str, np.ndarray]
    analytic: AnalyticCost
    facts: Mapping[str, Any]
    exchange: Mapping[str, np.ndarray] = field(default_factory=dict)
    name: str = "neural"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """What of each piece adds up, float64 [P, 32], in milliseconds."""
        return self.rows_of(piece_columns(pieces))

    def rows_of(self, columns_PC: np.ndarray) -> np.ndarray:
        """`rows` of pieces given as `piece_columns`."""
        if len(columns_PC) == 0:
            return np.zeros((0, WIDTH))
        own = self.arrays
        inputs = np.clip((inputs_of(columns_PC) - own["mean"]) / own["std"], -FURTHEST, FURTHEST).astype(np.float32)
        hidden = np.maximum(inputs @ own["pieces.0.weight"].T + own["pieces.0.bias"], 0)
        found = np.logaddexp(0, (hidden @ own["pieces.2.weight"].T + own["pieces.2.bias"]).astype(np.float64))
        return found * scale_ms(self.analytic, columns_PC)[:, None]

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M] of sets with these sums [M, 32]."""
        own = self.arrays
        logs = np.log(sums.astype(np.float32) + np.float32(LEAST_MS))
        hidden = logs @ own["head.0.weight"].T
        hidden += own["head.0.bias"]
        np.maximum(hidden, 0, out=hidden)
        factor = hidden @ own["head.2.weight"][0] + own["head.2.bias"][0]
        found: np.ndarray = sums.mean(1) * np.exp(BOUND * np.tanh(factor / BOUND)).astype(np.float64)
        return found

    def save(self, path: Path) -> None:
        """Write `path` (safetensors) and, beside it, the facts as JSON.

        Raises:
            InputError: see `check_writable`.
        """
        check_writable(path)
        heads = {f"exchange.{name}": array for name, array in self.exchange.items()}
        save_file(
            {
                **{name: np.ascontiguousarray(array) for name, array in {**self.arrays, **heads}.items()},
                ANALYTIC[0]: np.array(self.analytic.ns),
                ANALYTIC[1]: np.array([self.analytic.cache_bytes]),
            },
            path,
        )
        path.with_suffix(".json").write_text(json.dumps(dict(self.facts), indent=2) + "\n", encoding="utf-8")


def check_writable(path: Path) -> None:
    """A fitted cost can be written there; its folder is made.

    Raises:
        InputError: a name that is not of safetensors, whose facts would take its place; or a folder that takes no file.
    """
    if path.suffix != SUFFIX:
        raise InputError(
            f"cannot write a fitted cost to {path}", expected=f"a name that ends in {SUFFIX}; a .json goes beside it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write into {path.parent}", got=error.strerror, todo="name another folder") from None


def scale_ms(analytic: AnalyticCost, columns_PC: np.ndarray) -> np.ndarray:
    """What the network's output of each piece is multiplied by [P]: the analytic milliseconds without a cache."""
    dim, lists, lookups = columns_PC[:, 0], columns_PC[:, 2], columns_PC[:, 3]
    return analytic.rows_of(terms_of(dim, lists, lookups, columns_PC[:, 5:]))[:, :2].sum(1)


def load_cost(path: Path = SHIPPED) -> NeuralCost:
    """Read a fitted network.

    Raises:
        InputError: there is none, or it is not one.
    """
    if not path.exists():
        raise InputError(f"there is no fitted cost {path}", todo="make one with recfold cost collect and cost fit")
    try:
        arrays = load_file(path)
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is no fitted cost", got=str(error)) from None
    missing = sorted({*ARRAYS, *ANALYTIC} - arrays.keys())
    if missing:
        raise InputError(f"{path} is no fitted cost", got=f"no {missing[0]!r}", expected="what recfold cost fit writes")
    ns, cache_bytes = (arrays.pop(name) for name in ANALYTIC)
    return NeuralCost(
        {name: arrays[name] for name in ARRAYS},
        AnalyticCost(tuple(ns.tolist()), float(cache_bytes[0])),
        facts,
        {name.removeprefix("exchange."): array for name, array in arrays.items() if name.startswith("exchange.")},
    )


@cache
def shipped_cost() -> NeuralCost:
    """The network that comes with the package."""
    return load_cost(SHIPPED)
