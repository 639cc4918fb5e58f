"""Saving in the background and by several ranks: whole or not at all, any box of a tensor back."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recfold.checkpoint import Piece, Writer, Writers, latest, load, saved_steps, step_path
from recfold.spec import InputError

WHOLE = torch.arange(24.0).view(6, 4)


def state_of(rank: int, size: int) -> dict[str, Any]:
    first, last = rank * 6 // size, (rank + 1) * 6 // size
    tables = {f"item.weight@{first},0": Piece(WHOLE[first:last].clone(), (6, 4), (first, 0))}
    own = {"tables": tables, "random": {"seed": rank}}
    return own if rank else {**own, "model": {"w": torch.ones(3)}}


def save_all(run: Path, size: int, step: int = 5, *, missing: int | None = None) -> None:
    """What `size` ranks save, each with its own writer; rank `missing` never comes."""
    writers = [
        Writer(run, writers=Writers(rank, size, "job", timeout_s=0.3)) for rank in range(size) if rank != missing
    ]
    for writer in reversed(writers):
        writer.save(step, state_of(writer._writers.rank, size))
    for writer in writers:
        writer.wait()


def test_one_process_writes_version_1(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.save(3, {"model": {"w": WHOLE}}, best_step=3)
    manifest = json.loads((step_path(tmp_path, 3) / "checkpoint.json").read_text())
    assert (manifest["format_version"], manifest["best_step"]) == (1, 3)
    assert torch.equal(load(step_path(tmp_path, 3))["model"]["w"], WHOLE)


def test_what_changes_after_the_call_is_not_saved(tmp_path: Path) -> None:
    weight = WHOLE.clone()
    with Writer(tmp_path) as writer:
        writer.save(1, {"model": {"w": weight}})
        weight.zero_()
    assert torch.equal(load(step_path(tmp_path, 1))["model"]["w"], WHOLE)


@pytest.mark.parametrize("size", [2, 3])
def test_pieces_of_several_ranks_are_one_tensor(tmp_path: Path, size: int) -> None:
    save_all(tmp_path, size)
    path = step_path(tmp_path, 5)
    state = load(path)
    assert torch.equal(state["tables"]["item.weight"], WHOLE)
    assert state["world_size"] == size
    assert [load(path, rank)["random"]["seed"] for rank in range(size)] == list(range(size))
    assert torch.equal(load(path, 1)["model"]["w"], torch.ones(3))


@given(st.data())
def test_any_box_is_read_from_the_pieces_that_hold_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = tmp_path_factory.getbasetemp() / "boxes"
    if not saved_steps(run):
        save_all(run, 3)
    rows, columns = (sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in (6, 4))
    stored = load(step_path(run, 5))["tables"].stored["item.weight"]
    box = stored.box((rows[0], columns[0]), (rows[1] - rows[0], columns[1] - columns[0]))
    assert torch.equal(box, WHOLE[slice(*rows), slice(*columns)])


def test_a_checkpoint_without_the_files_of_one_rank_does_not_exist(tmp_path: Path) -> None:
    save_all(tmp_path, 2, step=1)
    with pytest.raises(InputError, match="rank 1 has not written its part"):
        save_all(tmp_path, 2, step=2, missing=1)
    assert saved_steps(tmp_path) == [1]
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_a_rank_that_cannot_save_stops_rank_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import recfold.checkpoint.store as store

    real = store.save_file

    def full(tensors: Any, path: Path) -> None:
        if "00001" in path.name:
            raise OSError("No space left on device")
        real(tensors, path)

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(InputError, match=r"rank 1 could not save; got .*No space left on device"):
        save_all(tmp_path, 2)
    assert saved_steps(tmp_path) == []


def test_damage_to_the_piece_of_another_rank_is_found(tmp_path: Path) -> None:
    save_all(tmp_path, 2)
    path = step_path(tmp_path, 5) / "tables.pieces-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(InputError, match=r"pieces-00001\.safetensors is damaged"):
        load(step_path(tmp_path, 5))


def test_what_another_start_left_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / "checkpoints" / ".step-00000009.dead-1"
    stale.mkdir(parents=True)
    save_all(tmp_path, 2)
    assert not stale.exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_the_next_save_waits_for_the_one_before(tmp_path: Path) -> None:
    with Writer(tmp_path, keep=9) as writer:
        for step in range(5):
            writer.save(step, {"model": {"w": torch.full((1000,), float(step))}})
            assert threading.active_count() <= 4
    assert saved_steps(tmp_path) == list(range(5))
