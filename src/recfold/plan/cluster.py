"""The machines of a plan, as a file describes them.

ranks_per_host = 8
wire_bytes = 2

[within]
gbytes_per_s = 250.0
latency_us = 20.0

[between]
gbytes_per_s = 20.0
latency_us = 40.0

[[tiers]]
name = "HBM"
gb = 32.0
gbytes_per_s = 850.0

[dense]
mflops = 50.0
tflops = 40.0
parameters = 20000000
"""

import math
import tomllib
from pathlib import Path

from pydantic import Field, model_validator

from recfold.plan.cost.exchange import Link, LinkExchange
from recfold.spec import InputError, Settings, Topology


class LinkSpec(Settings):
    """What a rank can send, and at the same time receive, in 10^9 bytes a second; and how long a message takes."""

    gbytes_per_s: float = Field(gt=0)
    latency_us: float = Field(default=0.0, ge=0)

    def link(self) -> Link:
        """For the exchange of a cost."""
        return Link(self.gbytes_per_s * 1e9, self.latency_us / 1e3)


class Tier(Settings):
    """Memory of a rank.

    Args:
        name: what it is called.
        gb: 10^9 bytes for tables.
        gbytes_per_s: at which rows are read and written.
    """

    name: str
    gb: float = Field(gt=0)
    gbytes_per_s: float = Field(gt=0)


class Dense(Settings):
    """The dense part.

    Args:
        mflops: 10^6 floating-point operations of a sample's forward; its backward takes twice as many.
        tflops: 10^12 of them that a rank does in a second, as reached, not as printed on the box.
        bottom_share: of the forward, what needs no rows, and so is computed while these travel.
        parameters: whose gradients are summed over the ranks, four bytes each.
    """

    mflops: float = Field(default=0.0, ge=0)
    tflops: float = Field(default=1.0, gt=0)
    bottom_share: float = Field(default=0.0, ge=0, le=1)
    parameters: int = Field(default=0, ge=0)


class Cluster(Settings):
    """Machines.

    Args:
        ranks_per_host: ranks of a machine; all of them where not given.
        within, between: links of a rank to others of its host and of other hosts; where `between` is not given it is
            as `within`; without `within` the exchange is as it was measured with the cost.
        tiers: memory of a rank, fastest first; without tiers a cost says how long lookups take.
        cores_per_host: where ranks compute on cores and share them; None for a device each.
        wire_bytes: of a number of a row as it travels (2 for fp16).
        dense: the dense part of the model on one rank.
    """

    ranks_per_host: int | None = Field(default=None, gt=0)
    within: LinkSpec | None = None
    between: LinkSpec | None = None
    tiers: tuple[Tier, ...] = ()
    cores_per_host: int | None = Field(default=None, gt=0)
    wire_bytes: float = Field(default=4.0, gt=0)
    dense: Dense = Dense()

    @model_validator(mode="after")
    def _fastest_first(self) -> "Cluster":
        speeds = [tier.gbytes_per_s for tier in self.tiers]
        if speeds != sorted(speeds, reverse=True):
            raise ValueError("tiers must be listed fastest first")
        if self.between is not None and self.within is None:
            raise ValueError("a link between hosts needs one within a host too")
        return self

    @property
    def memory_bytes(self) -> int | None:
        """Of all tiers of a rank; None where there are none."""
        return math.floor(sum(tier.gb for tier in self.tiers) * 1e9) if self.tiers else None

    def topology(self, ranks: int) -> Topology:
        """So many ranks; fewer than a host has are on one.

        Raises:
            InputError: they do not fill hosts.
        """
        per_host = self.ranks_per_host
        if per_host is None or ranks <= per_host:
            return Topology(ranks=ranks)
        return Topology.parse({"ranks": ranks, "ranks_per_host": per_host}, "the cluster")

    def exchange(self, ranks: int) -> LinkExchange | None:
        """By the described links; None where there are none."""
        if self.within is None:
            return None
        between = None if self.between is None else self.between.link()
        return LinkExchange(self.topology(ranks), self.within.link(), between)


def load_cluster(path: Path) -> Cluster:
    """Read a description.

    Raises:
        InputError: there is none, it is not TOML, or it has an unknown key or a wrong value.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"cannot read cluster {path}", got=str(error), todo="see docs/planning.md, Simulation"
        ) from None
    return Cluster.parse(data, str(path))
