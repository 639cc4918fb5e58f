"""The verb that writes a model as plain files, and what it says where something is wrong."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError

from recfold.checkpoint import saved_steps, step_path

SETTINGS = (
    *("train.max_steps=2", "train.checkpoint_every=1", "train.batch_size=256", "train.throughput_steps=0"),
    *("reader.workers=0", "tables.dim=4"),
)


@pytest.fixture
def run(cli: Any, made: Path, tmp_path: Path) -> Path:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    ran = cli("train", made / "folded", "--out", tmp_path / "run", "--model", "lr", *sets)
    assert ran.code == 0, ran.err
    return tmp_path / "run"


def test_an_export_says_which_step_it_is_of(cli: Any, run: Path, tmp_path: Path) -> None:
    newest = step_path(run, saved_steps(run)[-1])
    assert cli("export", run, tmp_path / "newest").out == f"{tmp_path / 'newest'}: the model after step 2\n"
    (newest / "tables.safetensors").write_bytes(b"")
    said = cli("export", run, tmp_path / "older", "--tables", "safetensors").out.replace("\n", " ")
    assert "older: the model after step 1 a damaged checkpoint was passed over: " in said
    for name, step in (("newest", 2), ("older", 1)):
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["step"] == step
        assert all((tmp_path / name / own["file"]).exists() for own in manifest["tables"].values())
    first = next(iter(json.loads((tmp_path / "newest" / "manifest.json").read_text())["tables"].values()))
    assert pq.read_metadata(tmp_path / "newest" / first["file"]).num_rows == first["rows"]


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["{made}/folded", "{out}"], "is not a run"),
        (["{made}/run", "{made}"], "exists already"),
        (["{made}/run", "{out}", "--tables", "csv"], "unknown kind of table file 'csv'"),
        (["{made}/run", "{out}", "--checkpoint", "newest"], "expected best or last"),
    ],
)
def test_bad_input_is_one_line(cli: Any, made: Path, tmp_path: Path, arguments: list[str], part: str) -> None:
    ran = cli("export", *(own.format(made=made, out=tmp_path / "out") for own in arguments))
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert part in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["model.safetensors", "weight"])
def test_a_full_disk_is_one_line(
    cli: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    def save_until(tensors: dict[str, Any], path: Path) -> None:
        if file == path.name or file in tensors:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("recfold.checkpoint.store.save_file", save_until)
    ran = cli("export", made / "run", tmp_path / "out", "--tables", "safetensors")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "No space left on device" in ran.err
    assert list(tmp_path.iterdir()) == []
