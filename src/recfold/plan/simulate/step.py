"""One training step of a plan, phase after phase.

    off   ids -> lookup -> vectors -> forward -> backward -> gradients -> update -> all-reduce
    on    lookup -> max(vectors, bottom) -> max(rest of forward + backward, ids of the next batch)
                 -> max(gradients + update, all-reduce)

An exchange ends for all ranks when it ends for the busiest, and so each phase counts with its slowest rank. Where ranks
share cores, a step takes at least the work of all ranks of a host over its cores, exchanges included: what runs on the
same cores hides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost.exchange import exchange_bytes
from recfold.plan.explained import assignment_of
from recfold.plan.piece import Piece, TableLoad
from recfold.plan.simulate.machine import GRADIENT_BYTES, Machine
from recfold.spec import InputError, Plan

PHASES = ("ids", "lookup", "vectors", "forward", "backward", "gradients", "update", "all-reduce")
OWN = ("lookup", "update", "ids", "vectors", "gradients")
"""Phases in which ranks differ."""


@dataclass(frozen=True)
class Step:
    """Args:
    phases: of `PHASES`, milliseconds of each rank, float64 [N].
    path_ms: from the start of a step to that of the next, if nothing but the step uses the cores.
    cores_ms: the work of a host's ranks over its cores; 0 where each rank has a device.
    overlap: whether exchanges run beside computing.
    """

    phases: Mapping[str, np.ndarray]
    path_ms: float
    cores_ms: float
    overlap: bool

    @property
    def ms(self) -> float:
        """Of the step."""
        return max(self.path_ms, self.cores_ms)

    @property
    def slowest(self) -> int:
        """The rank whose tables take longest, their exchanges included."""
        return int(np.argmax(sum(self.phases[name] for name in OWN)))

    def phase_ms(self, name: str) -> float:
        """Of the slowest rank in that phase."""
        return float(self.phases[name].max())


def simulate(plan: Plan, tables: Sequence[TableLoad], machine: Machine, *, overlap: bool = True) -> Step:
    """A step of a plan.

    Args:
        tables: loads of a step of all ranks.
    Raises:
        InputError: loads of other tables, a machine of another number of ranks, or a rank that holds more than its
            memory.
    """
    if plan.ranks != machine.topology.ranks:
        raise InputError(
            f"the plan is for {plan.ranks} ranks", got=f"a machine of {machine.topology.ranks}", todo="plan again"
        )
    on_ranks = assignment_of(plan, tuple(tables)).by_rank(tables, plan.ranks)
    moved = np.stack([_exchanged(pieces, plan.ranks, machine.wire_bytes) for pieces in on_ranks])
    own = np.array([machine.table_ms(pieces, rank) for rank, pieces in enumerate(on_ranks)])
    every, dense = np.ones(plan.ranks), machine.dense
    phases = {
        "ids": machine.all_to_all_ms(moved[:, 0], back=True),
        "lookup": own[:, 0],
        "vectors": machine.all_to_all_ms(moved[:, 1]),
        "forward": dense.forward_ms * every,
        "backward": dense.backward_ms * every,
        "gradients": machine.all_to_all_ms(moved[:, 2], back=True),
        "update": own[:, 1],
        "all-reduce": machine.all_reduce_ms(dense.parameters * GRADIENT_BYTES) * every,
    }
    return Step(phases, _path_ms(phases, dense.bottom_ms, overlap), _cores_ms(phases, machine), overlap)


def _exchanged(pieces: Sequence[Piece], ranks: int, wire_bytes: float) -> np.ndarray:
    """Bytes of ids, vectors and gradients that a rank exchanges with others, float64 [3]."""
    forward_P, backward_P = exchange_bytes(pieces, ranks, wire_bytes).T
    copied_P = np.array([piece.copies > 1 for piece in pieces], dtype=bool)
    vectors_P = np.where(copied_P, 0.0, backward_P)  # rows of a replica are there
    return np.array([(forward_P - vectors_P).sum(), vectors_P.sum(), backward_P.sum()])


def _path_ms(phases: Mapping[str, np.ndarray], bottom_ms: float, overlap: bool) -> float:
    most = {name: float(own.max()) for name, own in phases.items()}
    if not overlap:
        return sum(most.values())
    rest = most["forward"] - bottom_ms + most["backward"]
    return (
        most["lookup"]
        + max(most["vectors"], bottom_ms)
        + max(rest, most["ids"])
        + max(most["gradients"] + most["update"], most["all-reduce"])
    )


def _cores_ms(phases: Mapping[str, np.ndarray], machine: Machine) -> float:
    if machine.cores_per_host is None:
        return 0.0
    work = np.stack([phases[name] for name in PHASES]).sum(0) + machine.dense.read_ms
    per_host = machine.topology.ranks // machine.topology.hosts
    by_host = work.reshape(-1, per_host).sum(1)
    return float(by_host.max()) / machine.cores_per_host
