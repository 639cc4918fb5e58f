"""A run's model as plain files: dense weights, embedding tables, and what is needed to read them."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recfold
from recfold.checkpoint import export_table, load, save_tensors, table_names
from recfold.spec import InputError
from recfold.train.run import chosen_checkpoint, open_run, write_json


@dataclass(frozen=True)
class Exported:
    """A model that was written; as text, the lines that say so.

    Args:
        path: folder.
        step: after which its checkpoint was saved.
        skipped: one line for each newer checkpoint that is damaged and was passed over.

    >>> print(Exported(Path("exported"), 20, ("step 22 is damaged",)))
    exported: the model after step 20
    a damaged checkpoint was passed over: step 22 is damaged
    """

    path: Path
    step: int
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        passed_over = (f"a damaged checkpoint was passed over: {line}" for line in self.skipped)
        return "\n".join((f"{self.path}: the model after step {self.step}", *passed_over))


def export_run(run: Path | str, out: Path | str, *, checkpoint: str | None = None, tables: str = "parquet") -> Exported:
    """Write OUT: model.safetensors, tables/NAME.parquet, schema.json, settings.json and, last, manifest.json.

    Whatever plan and number of ranks it was trained with, each table becomes one file; tables are read a part at a
    time where several ranks have saved them.

    Args:
        out: a folder that does not exist; it appears whole or not at all.
        checkpoint: as for `evaluate`.
        tables: `parquet` or `safetensors`.
    Returns:
        Where it is and of which step.
    Raises:
        InputError: no run, no complete checkpoint, an unknown kind of file, a folder that exists, or the disk
            refuses.
    """
    opened, out = open_run(run), Path(out)
    if out.exists():
        raise InputError(f"{out} exists already", todo="give another folder")
    found = chosen_checkpoint(opened, checkpoint)
    state = load(found.path, verified=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        (temporary / "tables").mkdir(parents=True)
        save_tensors(
            {name: tensor.contiguous() for name, tensor in state["model"].items()}, temporary / "model.safetensors"
        )
        saved = state["tables"]
        written: dict[str, Any] = {
            name: export_table(saved, name, temporary / "tables", tables) for name in table_names(saved)
        }
        write_json(temporary / "schema.json", opened.schema.model_dump(mode="json"))
        write_json(temporary / "settings.json", opened.settings.model_dump(mode="json"))
        write_json(
            temporary / "manifest.json",
            {
                "format_version": 1,
                "recfold_version": recfold.__version__,
                "model": opened.settings.model.model_dump(mode="json"),
                "step": found.step,
                "dense": {name: list(tensor.shape) for name, tensor in state["model"].items()},
                "tables": written,
            },
        )
        temporary.rename(out)
    except OSError as error:
        raise InputError(f"cannot write {out}", got=str(error)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, found.step, found.skipped)
