"""Batches, first weights and first losses of a case as files, so that anyone can time a peer themselves."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recfold.batch import Batch
from recfold.bench.training.cases import TrainCase
from recfold.spec import InputError, Schema
from recfold.train import RunSettings
from recfold.train.learner import Learner

_README = """# One case of `recfold bench`: batches, first weights, first losses

| file | holds |
|---|---|
| `case.json` | features, tables, groups, model, optimizers, and the loss of each batch when trained in this order |
| `batch-00000.safetensors`, ... | one batch each, plain and folded |
| `weights.safetensors` | `table.NAME` [rows, dim] and `model.NAME` of recfold's model before the first step |

In a batch, with B samples and F features in the order of `case.json`:

* `labels` float32 [B, labels], `dense` float32 [B, W] (the dense features side by side, in the order of `dense`)
* plain: `kjt.values`, `kjt.offsets` [F * B + 1]: the list of feature f and sample b has number f * B + b
* folded, for every group g: `group.g.inverse` [B] (absent: every sample has its own row), `group.g.values`,
  `group.g.offsets` (feature-major, features in the order of `groups`); in a window group also `group.g.start` and
  `group.g.length`, the windows of its merged lists; `group.g.dense` with a row for each distinct one

```python
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

folder = Path(".")
case = json.loads((folder / "case.json").read_text())
weights = load_file(folder / "weights.safetensors")
batch = load_file(folder / "batch-00000.safetensors")
num_samples, features = len(batch["labels"]), list(case["features"])
pooled = {}
for number, feature in enumerate(features):
    offsets = batch["kjt.offsets"][number * num_samples : (number + 1) * num_samples + 1]
    values = batch["kjt.values"][offsets[0] : offsets[-1]]
    table = weights["table." + case["features"][feature]["table"]]
    pooled[feature] = torch.nn.functional.embedding_bag(
        values, table, offsets - offsets[0], mode="sum", include_last_offset=True
    )
```

A TorchRec KJT is `KeyedJaggedTensor(features, batch["kjt.values"], offsets=batch["kjt.offsets"], stride=num_samples)`.
Your side trains the same model if its losses are those of `case.json`.
"""


def write_dump(
    folder: Path,
    case: TrainCase,
    schema: Schema,
    settings: RunSettings,
    batches: Sequence[Batch],
    losses: Sequence[float],
) -> Path:
    """Write a case into a new folder named after it.

    Args:
        losses: of the first batches, trained in this order.
    Returns:
        The case's folder.
    Raises:
        InputError: it is there already, or cannot be written.
    """
    path = folder / case.name
    if path.exists():
        raise InputError(f"{path} exists", todo="name another folder, or remove it")
    learner = Learner(schema, settings)
    tables = {name: tensor for name, tensor in learner.assembled.tables.state().items() if name.endswith(".weight")}
    weights = {f"table.{name.removesuffix('.weight')}": tensor for name, tensor in tables.items()}
    weights |= {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    try:
        path.mkdir(parents=True)
        for number, batch in enumerate(batches):
            _save(_tensors(batch, learner), path / f"batch-{number:05d}.safetensors")
        _save(weights, path / "weights.safetensors")
        (path / "README.md").write_text(_README, encoding="utf-8")
        # last: with it the folder is whole
        (path / "case.json").write_text(
            json.dumps(_about(case, schema, settings, learner, batches, losses), indent=2) + "\n"
        )
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise InputError(f"cannot write {path}", got=str(error)) from None
    return path


def _about(
    case: TrainCase,
    schema: Schema,
    settings: RunSettings,
    learner: Learner,
    batches: Sequence[Batch],
    losses: Sequence[float],
) -> dict[str, Any]:
    reads, first = learner.assembled.reads, batches[0]
    return {
        "case": case.name,
        "workload": case.workload,
        "batch_size": first.num_samples,
        "features": {
            read.feature: {"table": read.table, "read": read.mode, "group": schema.group_of(read.feature)}
            for read in reads
        },
        "dense": {name: schema.features[name].width or 1 for name in learner.assembled.dense},
        "groups": {
            name: {
                "lists": list(group.lists.keys) if group.lists is not None else [],
                "dense": dict(zip(group.dense_keys, group.dense_widths, strict=True)),
            }
            for name, group in first.groups.items()
        },
        "labels": list(first.label_names),
        "settings": settings.model_dump(mode="json"),
        "losses": list(losses),
    }


def _tensors(batch: Batch, learner: Learner) -> dict[str, Tensor]:
    plain = batch.expand()
    lists = {key: group.lists for group in plain.groups.values() if group.lists is not None for key in group.lists.keys}
    bags = [lists[read.feature].bags(read.feature) for read in learner.assembled.reads]
    lengths = torch.cat([offsets.diff() for _, offsets, _ in bags])
    owner = {key: group for group in plain.groups.values() for key in group.dense_keys}
    found = {
        "labels": batch.labels.to(torch.float32),
        "kjt.values": torch.cat([values for values, *_ in bags]),
        "kjt.offsets": torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
        "dense": torch.cat([owner[name].dense_of(name) for name in learner.assembled.dense], dim=1),
    }
    for name, group in batch.groups.items():
        parts = {"inverse": group.index.inverse, "dense": group.dense}
        if group.lists is not None:
            parts |= {part: getattr(group.lists, part) for part in ("values", "offsets", "start", "length")}
        found |= {f"group.{name}.{part}": tensor for part, tensor in parts.items() if tensor is not None}
    return found


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    # safetensors refuses tensors that share memory
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path)
