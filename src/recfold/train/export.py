"""A run's model as plain files: dense weights, embedding tables, and what is needed to read them."""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

import recfold
from recfold.checkpoint import export_table, load, table_names
from recfold.spec import InputError
from recfold.train.run import chosen_checkpoint, open_run, write_json


def export_run(run: Path | str, out: Path | str, *, checkpoint: str | None = None, tables: str = "parquet") -> Path:
    """Write OUT: model.safetensors, tables/NAME.parquet, schema.json, settings.json and, last, manifest.json.

    Whatever plan and number of ranks it was trained with, each table becomes one file; tables are read a part at a
    time where several ranks have saved them.

    Args:
        out: a folder that does not exist; it appears whole or not at all.
        checkpoint: as for `evaluate`.
        tables: `parquet` or `safetensors`.
    Returns:
        `out`.
    Raises:
        InputError: no run, no complete checkpoint, an unknown kind of file, or a folder that exists.
    """
    opened, out = open_run(run), Path(out)
    if out.exists():
        raise InputError(f"{out} exists already", todo="give another folder")
    found = chosen_checkpoint(opened, checkpoint)
    state = load(found.path, verified=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        (temporary / "tables").mkdir(parents=True)
        save_file(
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
    return out
