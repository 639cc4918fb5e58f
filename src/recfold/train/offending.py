"""The batch whose loss was not finite, kept for a look: tensors in safetensors, the rest in JSON."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from recfold.batch import Batch, FoldIndex, Group, InverseKeyedJaggedTensor
from recfold.checkpoint import flatten

FOLDER = "offending-batch"


def save_offending_batch(run: Path, batch: Batch, **details: Any) -> Path:
    """Write RUN/offending-batch/ (batch.safetensors, batch.json), replacing an older one.

    Args:
        details: what else to say: step, epoch, loss.
    Returns:
        The directory.
    """
    folder, temporary = run / FOLDER, run / f".{FOLDER}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tensors, tree = flatten(_plain(batch), "batch")
    save_file(tensors, temporary / "batch.safetensors")
    text = json.dumps({**details, "batch": tree}, indent=1, allow_nan=False)
    (temporary / "batch.json").write_text(text + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


def _plain(value: Any) -> Any:
    if isinstance(value, Batch | Group):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, FoldIndex):
        return {"inverse": value.inverse, "num_distinct": value.num_distinct}
    if isinstance(value, InverseKeyedJaggedTensor):
        return {name: getattr(value, name) for name in ("keys", "values", "offsets", "weights", "start", "length")}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
