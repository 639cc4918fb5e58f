"""The batch whose loss was not finite can be looked at."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file

from recfold.checkpoint import unflatten
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.offending import save_offending_batch
from recfold.train.scores import reader_of


def test_every_tensor_of_the_batch_is_kept(
    table: FoldedTable, settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    with reader_of(table, "train", table.schema, settings(), order="time") as reader:
        first, second = islice(reader, 2)
    save_offending_batch(tmp_path, first, step=1, loss="nan")
    folder = save_offending_batch(tmp_path, second, step=2, loss="inf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["offending-batch"]
    said = json.loads((folder / "batch.json").read_text())
    assert (said["step"], said["loss"]) == (2, "inf")
    kept = unflatten(load_file(folder / "batch.safetensors"), said["batch"])
    assert torch.equal(kept["labels"], second.labels)
    assert torch.equal(kept["keys"]["request"], second.keys["request"])
    history = second.groups["history"]
    assert history.lists is not None
    assert torch.equal(kept["groups"]["history"]["lists"]["values"], history.lists.values)
    assert torch.equal(kept["groups"]["history"]["lists"]["start"], history.lists.start)
    assert torch.equal(kept["groups"]["user"]["index"]["inverse"], second.groups["user"].index.inverse)
    assert kept["groups"]["history"]["lists"]["keys"] == ("seen", "action")
