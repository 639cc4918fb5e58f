"""One rank of `multihot`: trains the same batches with recfold's tables and with a parameter server, and counts bytes.

python -m recfold.bench.exchange.multihot_rank FOLDER RANK    reads FOLDER/work.json, writes FOLDER/RANK.json

Legend: F id features, B samples of a rank's batch.
"""

import dataclasses
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from pydantic import Field

from recfold.batch import Batch, FoldIndex, Group, InverseKeyedJaggedTensor, KeyedJaggedTensor
from recfold.bench.exchange.parameter_server import ParameterServerTables
from recfold.logs.synth.draws import zipf_probabilities
from recfold.logs.synth.workloads import FIELD_DIM, FIELD_IDS, FIELD_VOCABULARY, NUM_FIELDS
from recfold.spec import Plan, Schema, Settings, Topology, apply_overrides, row_wise, table_wise
from recfold.train import RunSettings
from recfold.train.assemble import table_sizes, tables_read
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks, current_ranks
from recfold.train.traffic import KINDS


class Multihot(Settings):
    """The workload `multihot` and what is done with it.

    Args:
        models: `lr`, `fm`, `deepfm`.
        features, ids_per_list, ids, skew, dim: F lists of so many ids a sample, of so many ids in all, Zipf-like.
        ranks, batch_size, steps: B samples a rank, so many steps.
        placed: `row`: every table is cut by rows over all ranks; `table`: whole tables, dealt to the ranks.
        partial: of recfold's side.
        optimizer: of tables.
    """

    models: tuple[str, ...] = ("fm", "lr", "deepfm")
    features: int = Field(default=NUM_FIELDS, gt=0)
    ids_per_list: int = Field(default=FIELD_IDS, gt=0)
    ids: int = Field(default=NUM_FIELDS * FIELD_VOCABULARY, gt=0)
    skew: float = 1.05
    dim: int = Field(default=FIELD_DIM, gt=0)
    ranks: int = Field(default=4, gt=1)
    batch_size: int = Field(default=512, gt=0)
    steps: int = Field(default=2, gt=0)
    placed: str = "row"
    partial: str = "auto"
    optimizer: str = "rowwise_adagrad"
    dtype: str = "float32"
    seed: int = 0

    @property
    def rows(self) -> int:
        """Of each feature's table."""
        return self.ids // self.features


def draw_batch(work: Multihot, step: int, rank: int) -> Batch:
    """Lists of a rank's samples: ids Zipf-like by frequency, through a permutation of each feature's table."""
    generator = np.random.default_rng([work.seed, step, rank])
    count = work.batch_size * work.ids_per_list
    bounds = np.cumsum(zipf_probabilities(work.rows, work.skew))
    values = []
    for feature in range(work.features):
        place = np.minimum(np.searchsorted(bounds, generator.random(count), side="right"), work.rows - 1)
        values.append(np.random.default_rng([work.seed, feature]).permutation(work.rows)[place])
    lists = work.features * work.batch_size
    kjt = KeyedJaggedTensor(
        [f"field{feature}" for feature in range(work.features)],
        torch.from_numpy(np.concatenate(values)),
        torch.arange(lists + 1) * work.ids_per_list,
    )
    group = Group(FoldIndex.identity(work.batch_size), InverseKeyedJaggedTensor.plain(kjt))
    labels = torch.from_numpy(generator.random((work.batch_size, 1)) < 0.3).float()
    return Batch({"sample": group}, labels, ("click",))


def schema_of(work: Multihot) -> Schema:
    """Each field has a table of its own."""
    names = [f"field{feature}" for feature in range(work.features)]
    return Schema.parse(
        {
            "keys": {"request": "request", "session": "session", "time": "time"},
            "labels": {"click": {"column": "click"}},
            "features": {name: {"kind": "ids"} for name in names},
            "tables": {name: {"rows": work.rows, "dim": work.dim} for name in names},
        },
        "workload multihot",
    )


def settings_of(work: Multihot, model: str, partial: str) -> RunSettings:
    """Pairs of `fm` and `deepfm` are those of single ids."""
    changes = [
        f"model.name={model}",
        f"model.options={json.dumps({} if model == 'lr' else {'pairs': 'ids'})}",
        f"tables.optimizer={work.optimizer}",
        f"ranks.partial={partial}",
        f"train.batch_size={work.batch_size}",
        f"train.dtype={work.dtype}",
        f"train.seed={work.seed}",
        "train.device=cpu",
    ]
    return apply_overrides(RunSettings(), changes)


def plan_of(work: Multihot, schema: Schema, settings: RunSettings) -> Plan:
    """A feature's vectors and weights are on the same ranks."""
    placed = {}
    for name, size in table_sizes(schema, settings).items():
        number = int(name.partition(":")[0].removeprefix("field"))
        placed[name] = (
            row_wise(size.rows, size.dim, ranks=range(work.ranks))
            if work.placed == "row"
            else table_wise(size.rows, size.dim, rank=number % work.ranks)
        )
    return Plan(topology=Topology(ranks=work.ranks), tables=placed)


def recfold_side(work: Multihot, model: str, ranks: Ranks) -> Learner:
    schema, settings = schema_of(work), settings_of(work, model, work.partial)
    lengths = {name: float(work.ids_per_list) for name in schema.features}
    return Learner(schema, settings, plan=plan_of(work, schema, settings), ranks=ranks, ids_per_list=lengths)


def server_side(work: Multihot, model: str, ranks: Ranks) -> tuple[Learner, ParameterServerTables]:
    """The same learner, whose tables are those of a parameter server; they have no lookups that overlap."""
    schema, settings = schema_of(work), apply_overrides(settings_of(work, model, "off"), ["ranks.overlap=off"])
    learner = Learner(schema, settings, plan=plan_of(work, schema, settings), ranks=ranks)
    specs, _, _ = tables_read(schema, model)
    own = learner.assembled
    tables = ParameterServerTables(
        specs,
        own.reads,
        same_ids=own.weighed,
        group=ranks.tables_group,
        seed=settings.train.seed,
        dtype=own.dtype if work.dtype == "float64" else None,
        **settings.tables.model_dump(exclude={"dim", "kernel"}),
    )
    learner.assembled = dataclasses.replace(own, tables=cast(Any, tables))
    return learner, tables


def count(work: Multihot, model: str, ranks: Ranks) -> dict[str, Any]:
    """Losses of each step, and bytes by kind that this rank has sent in all of them, of both sides."""
    batches = [draw_batch(work, step, ranks.rank) for step in range(work.steps)]
    ours = recfold_side(work, model, ranks)
    assert ours.traffic is not None
    found: dict[str, Any] = {"notes": list(ours.assembled.partial.notes)}
    found["ours losses"] = [ours.step(batch).loss for batch in batches]
    found["ours"] = {kind: sent for kind, sent in ours.traffic.so_far().sent_bytes.items() if kind in KINDS and sent}
    del ours
    peer, tables = server_side(work, model, ranks)
    found["peer losses"] = [peer.step(batch).loss for batch in batches]
    found["peer"] = tables.wire.take()
    ids = batches[0].groups["sample"].lists
    assert ids is not None
    distinct = sum(len(ids.bags(key)[0].unique()) for key in ids.keys)
    return {**found, "distinct share": distinct / len(ids.values)}


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    work = Multihot.parse(json.loads((folder / "work.json").read_text()), "work")
    os.environ["USE_LIBUV"] = "0"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=work.ranks, timeout=timedelta(seconds=300)
    )
    ranks = current_ranks()
    found = {model: count(work, model, ranks) for model in work.models}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
