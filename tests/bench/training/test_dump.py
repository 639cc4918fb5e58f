"""A dump can be read with safetensors and JSON alone, and holds what a peer needs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recfold.batch import plain
from recfold.bench.training.dump import write_dump
from recfold.spec import InputError
from recfold.train.learner import Learner


@pytest.fixture
def dumped(small: Any, tmp_path: Path) -> Path:
    return write_dump(tmp_path / "dump", small.case, small.schema, small.run, small.batches, [0.5, 0.25])


def test_the_code_in_the_readme_looks_up_what_the_model_looks_up(small: Any, dumped: Path) -> None:
    code = (dumped / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code += "\nfrom safetensors.torch import save_file\nsave_file(pooled, 'pooled.safetensors')\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=dumped, check=True, env=environment)
    found = load_file(dumped / "pooled.safetensors")
    learner = Learner(small.schema, small.run)
    inputs = learner.assembled.inputs(learner.prepared(small.batches[0]))
    assert set(inputs.pooled) <= set(found)
    for name, folded in inputs.pooled.items():
        torch.testing.assert_close(found[name], plain(folded))


def test_it_holds_the_folded_batch_and_the_model(small: Any, dumped: Path) -> None:
    assert sorted(path.name for path in dumped.iterdir()) == [
        "README.md",
        *(f"batch-0000{number}.safetensors" for number in range(3)),
        "case.json",
        "weights.safetensors",
    ]
    about = json.loads((dumped / "case.json").read_text())
    assert (about["case"], about["batch_size"], about["losses"]) == (small.case.name, 96, [0.5, 0.25])
    batch, tensors = small.batches[1], load_file(dumped / "batch-00001.safetensors")
    assert torch.equal(tensors["labels"], batch.labels)
    assert sum(about["dense"].values()) == tensors["dense"].shape[1]
    for name, group in batch.groups.items():
        inverse = tensors.get(f"group.{name}.inverse")
        assert (inverse is None) == group.index.is_identity
        assert inverse is None or torch.equal(inverse, group.index.inverse)
        assert list(about["groups"][name]["lists"]) == ([] if group.lists is None else list(group.lists.keys))
        if group.lists is not None:
            assert torch.equal(tensors[f"group.{name}.values"], group.lists.values)
            assert (f"group.{name}.start" in tensors) == group.lists.is_window
    learner = Learner(small.schema, small.run)
    weights = load_file(dumped / "weights.safetensors")
    for name, weight in learner.model.state_dict().items():
        assert torch.equal(weights[f"model.{name}"], weight)
    for feature in about["features"].values():
        assert weights[f"table.{feature['table']}"].shape == (300, 64)


def test_a_dump_is_not_written_over(small: Any, dumped: Path) -> None:
    with pytest.raises(InputError, match="exists; name another folder, or remove it"):
        write_dump(dumped.parent, small.case, small.schema, small.run, small.batches, [])
