"""Checkpoints of a run on disk: written whole or not at all, checked before they are read.

    RUN/checkpoints/step-00000123/
        checkpoint.json         versions, step, best step, bytes and xxh64 of the other files, xxh64 of itself
        state.json              one tree a part (see `flatten`)
        model.safetensors       the tensors of part "model", and so on: one file for each part that has tensors
        state.rank-00001.json, random.rank-00001.safetensors, ...    what only that rank has, where there are several
        tables.pieces-00001.safetensors                              what it holds of tensors that lie in pieces

Format version 2 is that of several ranks: checkpoint.json also has `world_size`, and `pieces`: for each part the
tensors that lie in pieces, with shape, dtype, and file, key, start and shape of every piece. One process writes version
1.

A checkpoint is written into a hidden sibling directory, flushed to disk, then renamed: a directory called `step-…` is
complete unless the disk damaged it, and the checksums tell.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import recfold
from recfold.checkpoint.flatten import flatten, unflatten
from recfold.checkpoint.pieces import Piece, described, stored_tensors
from recfold.spec import InputError

FORMAT_VERSION = 2
_MANIFEST = "checkpoint.json"
_TREES = "state.json"
_PREFIX = "step-"


@dataclass(frozen=True)
class Found:
    """A complete checkpoint.

    Args:
        path: its directory.
        step: the step after which it was saved.
        best_step: the best step known when it was saved; None where nothing was compared.
        skipped: one line for each newer checkpoint that is damaged and was passed over.
    """

    path: Path
    step: int
    best_step: int | None
    skipped: tuple[str, ...] = ()


def save(run: Path, step: int, state: Mapping[str, Any], *, keep: int = 2, best_step: int | None = None) -> Path:
    """Save the parts of a run's state, atomically, then delete checkpoints that are no longer kept.

    Args:
        run: the run's directory.
        step: steps done; saving the same step again replaces it.
        state: part -> nested state (see `flatten`); part names are file names.
        keep: how many of the last checkpoints stay (>= 1); the best one of each of them stays too.
        best_step: the step whose checkpoint is the best so far.
    Returns:
        The checkpoint's directory.
    Raises:
        InputError: a part holds something that cannot be saved, or the disk refuses.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    folder = run / "checkpoints"
    target = step_path(run, step)
    temporary = folder / f".{target.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        discard_stale(folder)
        temporary.mkdir()
        said = prepare_share(state).write(temporary)
        finish_checkpoint(temporary, target, step, [said], best_step=best_step, keep=keep)
    except OSError as error:
        raise InputError(
            f"cannot save checkpoint {target}", got=str(error), todo="free space, or check rights"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


@dataclass
class Share:
    """What one rank saves, copied: training may go on while it is written.

    Args:
        tensors: file -> tensors by name.
        trees: file -> what `flatten` left of its parts.
        pieces: part -> tensor in pieces -> what the manifest says of it.
    """

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    trees: dict[str, Any] = field(default_factory=dict)
    pieces: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files and flush them to disk.

        Returns:
            What the manifest says of them: `files` and `pieces`, JSON values.
        Raises:
            OSError: the disk refuses.
        """
        for name, tensors in self.tensors.items():
            save_tensors(tensors, folder / name)
        for name, tree in self.trees.items():
            (folder / name).write_text(json.dumps(tree, allow_nan=False), encoding="utf-8")
        names = [*self.trees, *self.tensors]
        files = {name: {"bytes": (folder / name).stat().st_size, "xxh64": _checksum(folder / name)} for name in names}
        for name in names:
            _flush(folder / name)
        return {"files": files, "pieces": self.pieces}


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        OSError: the disk refuses.
    """
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # which hides the system's
        raise OSError(f"cannot write {path}: {error}") from None


def prepare_share(state: Mapping[str, Any], rank: int = 0) -> Share:
    """Copy what a rank saves.

    Raises:
        InputError: a part holds something that cannot be saved.
    """
    share, own = Share(), "" if rank == 0 else f".rank-{rank:05d}"
    trees: dict[str, Any] = {}
    for part, value in state.items():
        if isinstance(value, Mapping) and any(isinstance(item, Piece) for item in value.values()):
            file = f"{part}.pieces-{rank:05d}.safetensors"
            share.tensors[file], share.pieces[part] = _split_off(value, file)
            continue
        tensors, trees[part] = flatten(value, part)
        if tensors:
            share.tensors[f"{part}{own}.safetensors"] = tensors
    share.trees[_TREES if rank == 0 else f"state{own}.json"] = trees
    return share


def _split_off(value: Mapping[str, Any], file: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Pieces of a part: their tensors by key, and what is said of each tensor."""
    tensors: dict[str, Tensor] = {}
    said: dict[str, Any] = {}
    for name, piece in value.items():
        tensors[name] = piece.values.detach().to("cpu", copy=True).contiguous()
        dtype = str(piece.values.dtype).removeprefix("torch.")
        # a box has its place behind its tensor's name: item.weight@3,0
        whole = said.setdefault(
            name.rpartition("@")[0] or name, {"shape": list(piece.shape), "dtype": dtype, "pieces": []}
        )
        whole["pieces"].append(described(piece, file, name))
    return tensors, said


def discard_stale(folder: Path, but: str | None = None) -> None:
    """Remove what saves that never ended have left in a folder of checkpoints.

    Args:
        but: part of the names of those that are under way.
    """
    for stale in folder.glob(f".{_PREFIX}*"):
        if but is None or but not in stale.name:
            shutil.rmtree(stale, ignore_errors=True)


def finish_checkpoint(
    temporary: Path, target: Path, step: int, shares: Sequence[Mapping[str, Any]], *, best_step: int | None, keep: int
) -> None:
    """Join what the ranks have written to a checkpoint, put it in its place, and delete those that are not kept.

    Args:
        shares: of every rank in order, what `Share.write` returned.
    Raises:
        OSError: the disk refuses.
    """
    manifest: dict[str, Any] = {
        "format_version": 1,
        "recfold_version": recfold.__version__,
        "step": step,
        "best_step": best_step,
        "files": {name: said for share in shares for name, said in share["files"].items()},
    }
    pieces = _joined_pieces(shares)
    if len(shares) > 1 or pieces:
        manifest |= {"format_version": FORMAT_VERSION, "world_size": len(shares), "pieces": pieces}
    path = temporary / _MANIFEST
    path.write_text(json.dumps({**manifest, "xxh64": _own_checksum(manifest)}, indent=1), "utf-8")
    _flush(path)
    _flush(temporary)
    _discard(target)
    temporary.rename(target)
    _flush(target.parent)
    _prune(target.parent.parent, keep)


def _joined_pieces(shares: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for share in shares:
        for part, tensors in share["pieces"].items():
            for name, said in tensors.items():
                whole = joined.setdefault(part, {}).setdefault(name, {**said, "pieces": []})
                whole["pieces"].extend(said["pieces"])
    return joined


def load(path: Path, rank: int = 0, *, verified: bool = False) -> dict[str, Any]:
    """The parts that were saved, tensors on the CPU; a part in pieces as `StoredTensors`, read when asked for.

    Args:
        rank: what only that rank had takes the place of what rank 0 had.
        verified: the checksums have been looked at.
    Returns:
        Part -> state; and "world_size", the number of ranks that saved it, where they were several.
    Raises:
        InputError: no such checkpoint, one of a newer format, or a file that is missing or damaged (named).
    """
    manifest = _read_manifest(path) if verified else _verify(path)
    parts: dict[str, Any] = {}
    for end in ("", f".rank-{rank:05d}"):
        if f"state{end}.json" not in manifest["files"]:
            continue
        trees = json.loads((path / f"state{end}.json").read_text(encoding="utf-8"))
        for part, tree in trees.items():
            file = f"{part}{end}.safetensors"
            try:
                tensors = load_file(path / file) if file in manifest["files"] else {}
            except SafetensorError as error:
                raise InputError(f"{path / file} is damaged", got=str(error)) from None
            parts[part] = unflatten(tensors, tree)
    for part, said in manifest.get("pieces", {}).items():
        parts[part] = stored_tensors(path, said)
    if "world_size" in manifest:
        parts["world_size"] = manifest["world_size"]
    return parts


def latest(run: Path) -> Found | None:
    """The newest checkpoint of a run whose every checksum is right; None where the run has no checkpoint at all.

    Raises:
        InputError: there are checkpoints, and all of them are damaged (or of a newer format).
    """
    skipped: list[str] = []
    for step in reversed(saved_steps(run)):
        try:
            manifest = _verify(step_path(run, step))
        except InputError as error:
            skipped.append(str(error))
            continue
        return Found(step_path(run, step), step, manifest["best_step"], tuple(skipped))
    if skipped:
        raise InputError(f"no checkpoint of {run} can be read", got=" and ".join(skipped), todo="train again")
    return None


def best(run: Path) -> Found | None:
    """The best checkpoint, as the newest complete one knows it; that one itself where nothing was compared."""
    newest = latest(run)
    if newest is None or newest.best_step is None or newest.best_step == newest.step:
        return newest
    path = step_path(run, newest.best_step)
    try:
        manifest = _verify(path)
    except InputError as error:
        return Found(newest.path, newest.step, newest.best_step, (*newest.skipped, str(error)))
    return Found(path, newest.best_step, manifest["best_step"], newest.skipped)


def step_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies.

    >>> step_path(Path("runs/a"), 123).as_posix()
    'runs/a/checkpoints/step-00000123'
    """
    return run / "checkpoints" / f"{_PREFIX}{step:08d}"


def saved_steps(run: Path) -> list[int]:
    """The steps that have a checkpoint directory, damaged or not, in rising order."""
    names = [path.name.removeprefix(_PREFIX) for path in (run / "checkpoints").glob(f"{_PREFIX}*")]
    return sorted(int(name) for name in names if name.isdigit())


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        own = manifest.pop("xxh64")
    except OSError as error:
        raise InputError(f"checkpoint {path} cannot be read", got=str(error)) from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"{file} is damaged", got="something that is not its JSON") from None
    if own != _own_checksum(manifest):
        raise InputError(f"{file} is damaged", got="a checksum that does not match")
    if manifest["format_version"] > FORMAT_VERSION:
        raise InputError(
            f"checkpoint {path} has format version {manifest['format_version']}",
            expected=f"at most {FORMAT_VERSION}",
            todo=f"use recfold {manifest['recfold_version']} or newer",
        )
    return manifest


def _verify(path: Path) -> dict[str, Any]:
    manifest = _read_manifest(path)
    for name, said in manifest["files"].items():
        file = path / name
        try:
            found = _checksum(file) if file.stat().st_size == said["bytes"] else "another size"
        except OSError as error:
            raise InputError(f"{file} cannot be read", got=str(error)) from None
        if found != said["xxh64"]:
            raise InputError(f"{file} is damaged", got=found, expected=f"xxh64 {said['xxh64']}")
    return manifest


def _prune(run: Path, keep: int) -> None:
    kept: set[int] = set()
    for step in reversed(saved_steps(run)):
        try:
            manifest = _read_manifest(step_path(run, step))
        except InputError:
            continue  # damaged: neither counted nor deleted, so that it can be looked at
        if keep > 0:
            kept |= {step, manifest["best_step"]}
            keep -= 1
        elif step not in kept:
            _discard(step_path(run, step))


def _discard(path: Path) -> None:
    if path.exists():  # hidden first: a kill while files go must not leave half a checkpoint under its name
        hidden = path.with_name(f".{path.name}.old")
        path.rename(hidden)
        shutil.rmtree(hidden)


def _checksum(path: Path) -> str:
    digest = xxhash.xxh64()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _own_checksum(manifest: dict[str, Any]) -> str:
    return xxhash.xxh64_hexdigest(json.dumps(manifest, sort_keys=True).encode())


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
