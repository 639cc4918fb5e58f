"""The models by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from recfold.model.dcn import Dcn, DcnSettings
from recfold.model.deepfm import DeepFm, DeepFmSettings
from recfold.model.din import Din, DinSettings
from recfold.model.dlrm import Dlrm, DlrmSettings
from recfold.model.fm import Fm, FmSettings
from recfold.model.lr import Lr, LrSettings
from recfold.model.reads import history_reads, no_reads, pooled_reads
from recfold.model.sequence import Sequence, SequenceSettings
from recfold.model.shape import InputShape
from recfold.model.wide_deep import WideDeep, WideDeepSettings
from recfold.spec import Operator, ReadMode, Schema, Settings, unknown

Reads = Callable[[Schema], list[tuple[str, ReadMode]]]


@dataclass(frozen=True)
class ModelFamily:
    """How a model reads its tables, what can be set, and how it is built.

    Args:
        reads: vectors.
        weights: first-order weights, one for each id (and label).
    """

    reads: Reads
    settings: type[Settings]
    build: Callable[[InputShape, Any], nn.Module]
    weights: Reads = no_reads


MODELS: dict[str, ModelFamily] = {
    "lr": ModelFamily(no_reads, LrSettings, Lr, weights=pooled_reads),
    "fm": ModelFamily(pooled_reads, FmSettings, Fm, weights=pooled_reads),
    "wide-deep": ModelFamily(pooled_reads, WideDeepSettings, WideDeep, weights=pooled_reads),
    "deepfm": ModelFamily(pooled_reads, DeepFmSettings, DeepFm, weights=pooled_reads),
    "dcn": ModelFamily(pooled_reads, DcnSettings, Dcn),
    "dlrm": ModelFamily(pooled_reads, DlrmSettings, Dlrm),
    "din": ModelFamily(history_reads, DinSettings, Din),
    "sequence": ModelFamily(history_reads, SequenceSettings, Sequence),
}


def model_reads(name: str, schema: Schema) -> list[tuple[str, ReadMode]]:
    """The id features whose vectors a model looks up, in schema order, and how.

    Raises:
        InputError: no such model.
    """
    return _family(name).reads(schema)


def model_weights(name: str, schema: Schema) -> list[tuple[str, ReadMode]]:
    """The id features whose first-order weights a model looks up, in schema order, and how.

    Raises:
        InputError: no such model.
    """
    return _family(name).weights(schema)


def build_model(name: str, shape: InputShape, options: Mapping[str, Any]) -> nn.Module:
    """Build a model; its initial weights come from torch's global generator.

    Args:
        options: as the user gave them; the model's settings class checks them.
    Raises:
        InputError: no such model, an unknown option (with the nearest right one), or inputs that it cannot take.
    """
    family = _family(name)
    return family.build(shape, family.settings.parse(dict(options), "model.options"))


def operators_of(model: nn.Module) -> tuple[Operator, ...]:
    """What a model computes that is linear in its looked-up rows; none where it does not say.

    Of the same rows (`of` and features) its operators are all that reads them.
    """
    operators = getattr(model, "operators", None)
    return operators() if callable(operators) else ()


def _family(name: str) -> ModelFamily:
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
