"""The history model: every group of histories through a transformer, then DLRM with one more vector for each.

With one group this is the shape of Chen et al. 2019, "Behavior Sequence Transformer", without the target item in the
sequence, so that a history is encoded once however many samples share it.
"""

from pydantic import Field
from torch import Tensor, nn

from recfold.batch import ModelInputs
from recfold.model.dlrm import Dlrm, DlrmSettings
from recfold.model.encoder import HistoryEncoder
from recfold.model.shape import InputShape, keyed
from recfold.spec import InputError


class SequenceSettings(DlrmSettings):
    """Options of the history model: those of DLRM, and of the transformer.

    Args:
        layers, heads, feedforward: of the transformer.
        encoder_dropout: inside it, drawn once per distinct history, so that samples which share one share its masks.
        positions: learned positions counted from the newest element; 0 for none.
    """

    layers: int = Field(default=1, gt=0)
    heads: int = Field(default=4, gt=0)
    feedforward: int = Field(default=256, gt=0)
    encoder_dropout: float = Field(default=0.0, ge=0, lt=1)
    positions: int = Field(default=0, ge=0)


class Sequence(nn.Module):
    """Histories encoded, one vector each, and interacting in a DLRM.

    Raises:
        InputError: there is no history among the features.
    """

    def __init__(self, shape: InputShape, settings: SequenceSettings) -> None:
        super().__init__()
        if not shape.sequences:
            raise InputError("model 'sequence' needs a feature of kind sequence", todo="use --model dlrm")
        dim = settings.dim or shape.common_dim()
        self.groups = tuple(shape.sequences)
        self.encoders = nn.ModuleDict(
            {
                keyed(group): HistoryEncoder(
                    features,
                    shape.dense_sequences.get(group, ()),
                    dim,
                    layers=settings.layers,
                    heads=settings.heads,
                    feedforward=settings.feedforward,
                    dropout=settings.encoder_dropout,
                    positions=settings.positions,
                )
                for group, features in shape.sequences.items()
            }
        )
        # a sequence of floats beside ids belongs to their encoder; one alone enters the bottom MLP by its mean
        alone = {group: names for group, names in shape.dense_sequences.items() if group not in shape.sequences}
        rest = InputShape(shape.pooled, shape.sequences, shape.dense, alone, shape.num_labels)
        self.dlrm = Dlrm(rest, settings, num_extra=len(self.encoders))

    def forward(self, inputs: ModelInputs) -> Tensor:
        """Logits [B, num_labels]."""
        numbers = self.dlrm.numbers(inputs)
        encoded_BD = [
            self.encoders[keyed(group)](inputs.sequences[group], inputs.dense_sequences.get(group, {}))
            for group in self.groups
        ]
        return self.dlrm.interact(inputs, numbers, encoded_BD)
