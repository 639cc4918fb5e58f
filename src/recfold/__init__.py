"""recfold: train recommendation models on every distinct thing once.

What a verb of the command line does is one call here, on typed values; the parts can be used alone:

    import recfold

    recfold.synth("logs", samples=200_000)
    table = recfold.fold("logs", "folded")
    with recfold.Reader(table, "train") as batches:
        for batch in batches:
            ...                                   # IKJTs, dense values, labels
    result = recfold.train(table, "run")
    print(recfold.evaluate("run", table).labels["click"].model.auc)

Rooms are imported when first asked for: folding does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from recfold.batch import Batch, Explanation, InverseKeyedJaggedTensor, KeyedJaggedTensor, explain
    from recfold.fold import FoldSettings, fold
    from recfold.logs import open_logs, synth
    from recfold.reader import Reader, ReaderSettings
    from recfold.report import report
    from recfold.spec import InputError, Schema, load_schema
    from recfold.table import FoldedTable, expand, inspect, open_table
    from recfold.train import RunSettings, evaluate, explain_run, predict, train

_ROOM_OF = {
    "Batch": "batch",
    "Explanation": "batch",
    "explain": "batch",
    "InverseKeyedJaggedTensor": "batch",
    "KeyedJaggedTensor": "batch",
    "FoldSettings": "fold",
    "open_logs": "logs",
    "synth": "logs",
    "Reader": "reader",
    "ReaderSettings": "reader",
    "InputError": "spec",
    "Schema": "spec",
    "load_schema": "spec",
    "FoldedTable": "table",
    "expand": "table",
    "inspect": "table",
    "open_table": "table",
    "RunSettings": "train",
    "evaluate": "train",
    "explain_run": "train",
    "predict": "train",
}
_VERB_ROOMS = ("fold", "train", "report")

__all__ = [
    "Batch",
    "Explanation",
    "FoldSettings",
    "FoldedTable",
    "InputError",
    "InverseKeyedJaggedTensor",
    "KeyedJaggedTensor",
    "Reader",
    "ReaderSettings",
    "RunSettings",
    "Schema",
    "evaluate",
    "expand",
    "explain",
    "explain_run",
    "fold",
    "inspect",
    "load_schema",
    "open_logs",
    "open_table",
    "predict",
    "report",
    "synth",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _VERB_ROOMS:
        return importlib.import_module(f"recfold.{name}")
    if name in _ROOM_OF:
        return getattr(importlib.import_module(f"recfold.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'recfold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
