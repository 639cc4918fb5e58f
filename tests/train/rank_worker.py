"""One rank of a test: runs the cases of a JSON file in its process group and writes what came out.

python rank_worker.py FOLDER RANK SIZE, with FOLDER/cases.json: [{"name", "kind", "table", "settings", ...}]
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
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
    learner = Learner(schema, settings, updates=30, plan=plan, ranks=ranks)
    losses, samples = [], []
    with reader_of(table, "train", schema, settings, order="time", ranks=ranks) as reader:
        for batch in reader.lockstep():
            kept = max(batch.num_samples - 3 * ranks.rank, 0)
            done = learner.step(batch.slice(0, kept) if kept else batch, measure=True)
            losses.append(done.loss)
            samples.append(batch.num_samples)
        learner.flush()
    pieces = {
        name: {"values": piece.values, "start": piece.start, "shape": piece.shape}
        for name, piece in learner.saved_tables().items()
    }
    return {"losses": losses, "samples": samples, "model": dict(learner.model.state_dict()), "pieces": pieces}


def run(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a whole run into `case["out"]`, the settings those of this rank."""
    settings = case["settings"] if current_ranks().is_first else case.get("settings of others", case["settings"])
    result = train(
        case["table"],
        case["out"],
        settings=None if settings is None else RunSettings.parse(settings, "case"),
        resume=case.get("resume", False),
        plan=Plan.parse(case["plan"], "case") if "plan" in case else None,
    )
    return {"steps": result.steps, "ended": result.ended, "loss": result.loss}


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
