"""Saves a run while it trains, one writer a rank: state is copied at once, files are written by a thread.

Every rank writes its files into one hidden folder and then, as its last, `share-RANK.json` that names them with their
checksums. Rank 0 waits for the shares of all, joins them to the manifest and renames the folder: a checkpoint appears
with the files of all ranks, or not at all.
"""

import json
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recfold.checkpoint.store import Share, discard_stale, finish_checkpoint, prepare_share, step_path
from recfold.spec import InputError

SECONDS_BETWEEN_LOOKS = 0.01


@dataclass(frozen=True)
class Writers:
    """Who saves together.

    Args:
        rank, size: this one, of how many.
        job: the same on all of them and new for every start of a job: what another start left is never mixed in.
        timeout_s: how long rank 0 waits for the files of the others.
    """

    rank: int = 0
    size: int = 1
    job: str = "alone"
    timeout_s: float = 600.0


class Writer:
    """Saves checkpoints of a run in the background; a context manager that ends with the last one on disk.

    Args:
        run: the run's directory, one that all ranks see.
        keep: how many of the last checkpoints stay, besides the best.
        writers: who saves together.
    """

    def __init__(self, run: Path, *, keep: int = 2, writers: Writers = Writers()) -> None:
        self._run, self._keep, self._writers = run, keep, writers
        self._thread: threading.Thread | None = None
        self._error: InputError | None = None
        self._number = 0

    def save(self, step: int, state: Mapping[str, Any], *, best_step: int | None = None) -> None:
        """Copy the state and start writing it, after the one before is on disk.

        Args:
            step: steps done.
            state: part -> nested state, on rank 0 all of it, on others what only they hold. A part that is a dict may
                hold `Piece`s.
            best_step: the step whose checkpoint is the best so far.
        Raises:
            InputError: the one before could not be written, or the state holds something that cannot be saved.
        """
        self.wait()
        self._number += 1
        share = prepare_share(state, self._writers.rank)
        self._thread = threading.Thread(target=self._write, args=(self._number, step, share, best_step), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when what this rank saves is on disk; on rank 0 the whole checkpoint is.

        Raises:
            InputError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or self._writers.size == 1:  # where a rank has failed, the others' files may never come
                self.wait()
        except InputError:
            if error is None:
                raise

    def _write(self, number: int, step: int, share: Share, best_step: int | None) -> None:
        target = step_path(self._run, step)
        end = f".{self._writers.job}-{number}"
        temporary = target.with_name(f".{target.name}{end}")
        own = temporary / f"share-{self._writers.rank:05d}.json"
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            if self._writers.rank == 0:
                discard_stale(temporary.parent, f".{self._writers.job}-")
            said = share.write(temporary)
            if self._writers.rank == 0:
                finish_checkpoint(
                    temporary, target, step, [said, *self._others(temporary)], best_step=best_step, keep=self._keep
                )
            else:
                hidden = own.with_suffix(".part")
                hidden.write_text(json.dumps(said), encoding="utf-8")
                hidden.rename(own)
        except InputError as error:
            self._error = error
        except OSError as error:
            self._error = InputError(
                f"cannot save checkpoint {target}", got=str(error), todo="free space, or check rights"
            )
        finally:
            if self._error is not None and self._writers.rank > 0:
                _tell_(own, self._error)
            if self._writers.rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)

    def _others(self, temporary: Path) -> list[dict[str, Any]]:
        """The shares of all other ranks, when they are there."""
        found = []
        last = time.monotonic() + self._writers.timeout_s
        for rank in range(1, self._writers.size):
            path = temporary / f"share-{rank:05d}.json"
            while not path.exists():
                if time.monotonic() > last:
                    raise InputError(
                        f"rank {rank} has not written its part of {temporary}", todo="use a folder that all ranks see"
                    )
                time.sleep(SECONDS_BETWEEN_LOOKS)
            share = json.loads(path.read_text(encoding="utf-8"))
            if "failed" in share:
                raise InputError(f"rank {rank} could not save", got=share["failed"])
            found.append(share)
            path.unlink()
        return found


def _tell_(path: Path, error: InputError) -> None:
    """Leave word for rank 0, if the disk lets us."""
    try:
        path.write_text(json.dumps({"failed": str(error)}), encoding="utf-8")
    except OSError:
        return
