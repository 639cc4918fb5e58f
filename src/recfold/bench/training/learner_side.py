"""recfold's own ways as sides: the ladder plain, lookups, encoders, whole network."""

from torch import Tensor, nn

from recfold.batch import Batch, ModelInputs, TensorLike, plain
from recfold.spec import InputError, Schema
from recfold.train import RunSettings
from recfold.train.learner import Learner
from recfold.train.settings import Fold


class LearnerSide:
    """`recfold train --fold on|lookups|off`.

    Args:
        encoders_only: lookups and history encoders run on distinct rows; what comes out is copied out to samples and
            the rest runs on samples. `train.fold` has no such value: it is a rung of the ladder that is only measured.
    """

    def __init__(self, schema: Schema, settings: RunSettings, fold: Fold, *, encoders_only: bool = False) -> None:
        train = settings.train.model_copy(update={"fold": fold})
        self.learner = Learner(schema, settings.model_copy(update={"train": train}))
        if encoders_only:
            self.learner.model = EncodersOnly(self.learner.model)

    def prepare(self, batch: Batch) -> Batch:
        # a slice has no caches yet: no side profits from the one before it
        return self.learner.prepared(batch.slice(0, batch.num_samples))

    def step(self, prepared: Batch) -> float:
        return self.learner.step_prepared(prepared).loss

    def state(self) -> dict[str, Tensor]:
        return dict(self.learner.assembled.tables.state())


class EncodersOnly(nn.Module):
    """A model whose history encoders see distinct rows and whose other parts see samples.

    Args:
        model: has its encoders in `encoders`, each of which gives the encoded histories of a group.
    Raises:
        InputError: the model has no encoders.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        encoders = getattr(model, "encoders", None)
        if not isinstance(encoders, nn.ModuleDict):
            raise InputError("the model has no history encoders", todo="measure it without the side encoders-only")
        for encoder in encoders.values():
            encoder.register_forward_hook(_copied_out)
        self.model = model

    def forward(self, inputs: ModelInputs) -> Tensor:
        pooled = ModelInputs(inputs.pooled, {}, inputs.dense, {}, inputs.num_samples).unfold()
        return self.model(
            ModelInputs(pooled.pooled, inputs.sequences, pooled.dense, inputs.dense_sequences, inputs.num_samples)
        )


def _copied_out(encoder: nn.Module, arguments: object, encoded: Tensor | TensorLike) -> Tensor:
    """Encoded histories of every sample."""
    return plain(encoded)
