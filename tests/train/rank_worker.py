"""One rank of a test: runs the cases of a JSON file in its process group and writes what came out.

python rank_worker.py FOLDER RANK SIZE, with FOLDER/cases.json: [{"name", "kind", "table", "settings", ...}]
"""

import functools
import json
import os
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from batch_norm_model import model_with_batch_norm, normalising
from safetensors.torch import save_file

from recfold.checkpoint import flatten
from recfold.spec import InputError, Plan
from recfold.table import open_table
from recfold.train import RunSettings, evaluate, predict, train
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.ranks import current_ranks
from recfold.train.scores import reader_of


def steps(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Step on this rank's batches, rank r on all but the last 3 r samples of each."""
    table, settings, ranks = open_table(case["table"]), RunSettings.parse(case["settings"], "case"), current_ranks()
    schema = run_schema(table.schema, None, settings.tables)
    plan = Plan.parse(case["plan"], "case") if "plan" in case else None
    with normalising(model_with_batch_norm) if case.get("batch norm") else nullcontext():
        learner = Learner(schema, settings, updates=30, plan=plan, ranks=ranks)
    if case.get("skips batch norm") and not ranks.is_first:
        learner.model.vectors.norms = torch.nn.ModuleDict()
    losses = []
    with reader_of(table, "train", schema, settings, order="time", ranks=ranks) as reader:
        read = list(reader.lockstep())
    samples = [batch.num_samples for batch in read]
    kept = [max(number - 3 * ranks.rank, 0) for number in samples]
    batches = [batch.slice(0, number) if number else batch for batch, number in zip(read, kept, strict=True)]
    following = iter([*batches[1:], None])
    upcoming = functools.partial(next, following) if case.get("ahead") else None
    for batch in batches:
        losses.append(learner.step(batch, measure=True, upcoming=upcoming).loss)
    learner.flush()
    pieces = {
        name: {"values": piece.values, "start": piece.start, "shape": piece.shape}
        for name, piece in learner.saved_tables().items()
    }
    assert learner.traffic is not None
    sent = dict(learner.traffic.so_far().sent_bytes)
    model = dict(learner.model.state_dict())
    return {"losses": losses, "samples": samples, "model": model, "pieces": pieces, "sent": sent}


def run(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a whole run into `case["out"]`, the settings those of this rank."""
    settings = case["settings"] if current_ranks().is_first else case.get("settings of others", case["settings"])
    result = train(
        case["table"],
        case["out"],
        settings=None if settings is None else RunSettings.parse(settings, "case"),
        resume=case.get("resume", False),
        plan=Plan.parse(case["plan"], "case") if "plan" in case else None,
        profile=case.get("profile", False),
    )
    wire = None if result.wire is None else result.wire.model_dump(mode="json")
    return {"steps": result.steps, "ended": result.ended, "loss": result.loss, "wire": wire}


def scored(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Evaluate and predict with the run of `case["run"]`."""
    found = evaluate(case["run"], case["table"])
    predict(case["run"], case["table"], case["out"])
    return {} if found is None else {"labels": found.model_dump(mode="json")["labels"]}


KINDS = {"steps": steps, "run": run, "scored": scored}


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.environ["USE_LIBUV"] = "0"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for case in json.loads((folder / "cases.json").read_text()):
        try:
            found = KINDS[case["kind"]](case, folder)
        except InputError as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        tensors, tree = flatten(found)
        save_file(tensors, folder / f"{case['name']}.{rank}.safetensors")
        (folder / f"{case['name']}.{rank}.json").write_text(json.dumps(tree))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
