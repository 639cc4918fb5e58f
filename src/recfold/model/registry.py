"""The models by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from recfold.model.dlrm import Dlrm, DlrmSettings, dlrm_reads
from recfold.model.sequence import Sequence, SequenceSettings, sequence_reads
from recfold.model.shape import InputShape
from recfold.spec import ReadMode, Schema, unknown


@dataclass(frozen=True)
class ModelFamily:
    """How a model reads its tables, what can be set, and how it is built."""

    reads: Callable[[Schema], list[tuple[str, ReadMode]]]
    settings: type[DlrmSettings]
    build: Callable[[InputShape, Any], nn.Module]


MODELS: dict[str, ModelFamily] = {
    "dlrm": ModelFamily(dlrm_reads, DlrmSettings, Dlrm),
    "sequence": ModelFamily(sequence_reads, SequenceSettings, Sequence),
}


def model_reads(name: str, schema: Schema) -> list[tuple[str, ReadMode]]:
    """The id features that a model looks up, in schema order, and how.

    Raises:
        InputError: no such model.
    """
    return _family(name).reads(schema)


def build_model(name: str, shape: InputShape, options: Mapping[str, Any]) -> nn.Module:
    """Build a model; its initial weights come from torch's global generator.

    Args:
        options: as the user gave them; the model's settings class checks them.
    Raises:
        InputError: no such model, an unknown option (with the nearest right one), or inputs that it cannot take.
    """
    family = _family(name)
    return family.build(shape, family.settings.parse(dict(options), "model.options"))


def _family(name: str) -> ModelFamily:
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
