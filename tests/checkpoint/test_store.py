"""Checkpoints are whole or absent; damage is named and never loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from recfold.checkpoint import best, latest, load, save, saved_steps, step_path, store
from recfold.spec import InputError

STATE: dict[str, Any] = {"model": {"w": torch.arange(6.0)}, "optimizer": {0: {"lr": 0.1}}, "step": 7}


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_a_checkpoint_comes_back_and_has_no_pickle(tmp_path: Path) -> None:
    path = save(tmp_path, 7, STATE)
    assert path == step_path(tmp_path, 7)
    assert files(path) == ["checkpoint.json", "model.safetensors", "state.json"]
    back = load(path)
    assert torch.equal(back["model"]["w"], STATE["model"]["w"])
    assert back["optimizer"] == {0: {"lr": 0.1}}
    assert back["step"] == 7


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    for step, best_step in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]:
        save(tmp_path, step, STATE, keep=2, best_step=best_step)
    assert saved_steps(tmp_path) == [2, 4, 5]
    found = best(tmp_path)
    assert found is not None
    assert (found.step, found.best_step) == (2, 2)
    newest = latest(tmp_path)
    assert newest is not None
    assert newest.step == 5
    assert not newest.skipped


def test_keep_one_keeps_one(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, STATE, keep=1)
    assert saved_steps(tmp_path) == [3]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        save(tmp_path, 4, STATE, keep=0)


def test_without_a_comparison_the_best_is_the_last(tmp_path: Path) -> None:
    assert best(tmp_path) is None
    assert latest(tmp_path) is None
    save(tmp_path, 1, STATE)
    save(tmp_path, 2, STATE)
    found = best(tmp_path)
    assert found is not None
    assert found.step == 2


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 1, STATE)
    save(tmp_path, 1, {"model": {"w": torch.ones(1)}})
    assert torch.equal(load(step_path(tmp_path, 1))["model"]["w"], torch.ones(1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("file", ["checkpoint.json", "model.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "flip", "gone"])
def test_damage_is_named_and_passed_over(tmp_path: Path, file: str, damage: Any) -> None:
    save(tmp_path, 1, STATE)
    newest = save(tmp_path, 2, STATE)
    damage(newest / file)
    with pytest.raises(InputError, match=file):
        load(newest)
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(found.skipped) == 1
    assert file in found.skipped[0]


def test_every_flipped_byte_is_seen(tmp_path: Path) -> None:
    path = save(tmp_path, 1, {"model": {"w": torch.arange(2.0)}})
    load(path)
    for file in path.iterdir():
        content = file.read_bytes()
        for place in range(len(content)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
            if file.name == "checkpoint.json" and content[place : place + 1] in b" \n":
                continue  # white space between the values of the manifest is no content
            with pytest.raises(InputError):
                load(path)
        file.write_bytes(content)
    load(path)


def test_a_damaged_best_falls_back_to_the_last(tmp_path: Path) -> None:
    save(tmp_path, 1, STATE, best_step=1)
    save(tmp_path, 2, STATE, best_step=1)
    flip(step_path(tmp_path, 1) / "model.safetensors")
    found = best(tmp_path)
    assert found is not None
    assert found.step == 2
    assert "step-00000001" in found.skipped[0]


def test_damaged_ones_do_not_count_as_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, STATE)
    cut(save(tmp_path, 2, STATE) / "checkpoint.json")
    save(tmp_path, 3, STATE)
    assert saved_steps(tmp_path) == [1, 2, 3]
    save(tmp_path, 4, STATE)
    assert saved_steps(tmp_path) == [2, 3, 4]


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    cut(save(tmp_path, 1, STATE) / "state.json")
    with pytest.raises(InputError, match=r"no checkpoint of .* can be read; got .*state\.json is damaged"):
        latest(tmp_path)


def test_a_kill_while_writing_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, STATE)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "save_file", killed)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2, STATE)
    assert files(tmp_path / "checkpoints") == ["step-00000001"]


def test_what_a_kill_left_behind_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".step-00000009.123"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{")
    assert latest(tmp_path) is None
    save(tmp_path, 1, STATE)
    assert files(tmp_path / "checkpoints") == ["step-00000001"]


def test_a_newer_format_names_the_version_to_use(tmp_path: Path) -> None:
    path = save(tmp_path, 1, STATE)
    manifest = json.loads((path / "checkpoint.json").read_text())
    del manifest["xxh64"]
    manifest |= {"format_version": 99, "recfold_version": "9.0"}
    manifest["xxh64"] = store._own_checksum(manifest)
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"format version 99; expected at most 2; use recfold 9\.0 or newer"):
        load(path)


def test_a_disk_that_refuses_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(InputError, match="cannot save checkpoint"):
        save(tmp_path, 1, STATE)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1, STATE)
    shutil.rmtree(step_path(tmp_path, 1))
    with pytest.raises(InputError, match="step-00000001 cannot be read"):
        load(step_path(tmp_path, 1))
