"""Models as plain modules: they look at `ModelInputs` and know neither ranks nor files."""

from recfold.model.dlrm import Dlrm, DlrmSettings
from recfold.model.registry import MODELS, build_model, model_reads, model_weights, operators_of
from recfold.model.sequence import Sequence, SequenceSettings
from recfold.model.shape import InputShape

__all__ = [
    "MODELS",
    "Dlrm",
    "DlrmSettings",
    "InputShape",
    "Sequence",
    "SequenceSettings",
    "build_model",
    "model_reads",
    "model_weights",
    "operators_of",
]
