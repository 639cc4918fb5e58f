"""Writes loads of tables with 12 trillion parameters, and a cluster of 16 hosts x 8 GPUs, for docs/planning.md.

The tables are those of the synthetic pool with the published statistics of the public one, with more rows each; rows
are fp16 and keep one float of row-wise AdaGrad. The machine's figures are round ones of such hosts, not measured.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from recfold.plan.loads import write_loads
from recfold.plan.piece import TableLoad
from recfold.plan.pool import table_pool

PARAMETERS = 12e12
RANKS, BATCH_SIZE = 128, 512
DIMS = (64, 128, 256)
CLUSTER = """\
ranks_per_host = 8
wire_bytes = 2                      # rows travel as fp16, their gradients as bf16

[within]
gbytes_per_s = 200.0
latency_us = 10.0

[between]
gbytes_per_s = 15.0                 # of each GPU
latency_us = 30.0

[[tiers]]
name = "HBM"
gb = 32.0                           # of 40: the rest is for the dense part
gbytes_per_s = 850.0

[[tiers]]
name = "DDR"
gb = 180.0                          # 1.44 TB of a host
gbytes_per_s = 12.0                 # over PCIe

[[tiers]]
name = "SSD"
gb = 4000.0
gbytes_per_s = 1.5

[dense]
mflops = 20.0                       # forward, of a sample
tflops = 20.0
bottom_share = 0.1
parameters = 10000000
"""


def tables(seed: int = 0) -> list[TableLoad]:
    """Tables of 12 trillion parameters with the loads of a step of 65,536 samples."""
    random = np.random.default_rng(seed)
    pool = table_pool(seed, batch_size=RANKS * BATCH_SIZE, rows_divisor=1)
    loads = [own.load(int(dim)) for own, dim in zip(pool, random.choice(np.array(DIMS), len(pool)), strict=True)]
    more = PARAMETERS / sum(load.rows * load.dim for load in loads)
    return [
        dataclasses.replace(load, rows=max(round(load.rows * more), 1), row_bytes=2 * load.dim + 4) for load in loads
    ]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("out", type=Path)
    folder = asked.parse_args().out
    made = tables()
    write_loads(made, folder / "loads.json", ranks=RANKS, batch_size=BATCH_SIZE, by_row=[load.name for load in made])
    (folder / "cluster.toml").write_text(CLUSTER, encoding="utf-8")
    total = sum(load.rows * load.dim for load in made)
    terabytes = sum(own.num_bytes for own in made) / 1e12
    print(f"{len(made)} tables, {total / 1e12:.2f} trillion parameters, {terabytes:.1f} TB")


if __name__ == "__main__":
    main()
