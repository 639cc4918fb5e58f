"""What the report shows, as plain values: read from a run and its table, and known to nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recfold.table import Inspection
from recfold.train import Evaluation, Hidden, RunSettings, Throughput


@dataclass(frozen=True)
class FoldFacts:
    """A folded table.

    Args:
        inspection: what it holds, as `recfold inspect` prints it.
        cut: from when on samples are held out, as text; None where the logs say so themselves.
        settings: of the fold.
    """

    inspection: Inspection
    cut: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def dedup_factor(self) -> float | None:
        """Lists of all samples over stored lists, all features together; None for a table without features."""
        stored = sum(feature.lists for feature in self.inspection.features)
        return self.inspection.samples * len(self.inspection.features) / stored if stored else None

    @property
    def value_factor(self) -> float | None:
        """Values if every sample had its own copy, over stored values; None where none is stored."""
        stored = sum(feature.values for feature in self.inspection.features)
        return sum(feature.expanded_values for feature in self.inspection.features) / stored if stored else None


@dataclass(frozen=True)
class StepPoint:
    """One logged training step."""

    step: int
    loss: float
    learning_rate: float | None = None


@dataclass(frozen=True)
class ValidationPoint:
    """One evaluation during training, of one label."""

    step: int
    label: str
    ne: float | None = None
    auc: float | None = None


@dataclass(frozen=True)
class WirePoint:
    """Bytes a step of all ranks up to a logged step, by kind; the dense part's apart.

    Args:
        samples: trained so far, of all ranks.
    """

    step: int
    samples: int
    per_step: Mapping[str, float]
    dense_per_step: float


@dataclass(frozen=True)
class History:
    """What the journal tells: in order of steps, the last entry of a step that was logged twice.

    Args:
        wire: what crossed it; nothing on one rank.
        hidden: what overlap hid in traced steps.
    """

    steps: tuple[StepPoint, ...] = ()
    validation: tuple[ValidationPoint, ...] = ()
    events: tuple[str, ...] = ()
    wire: tuple[WirePoint, ...] = ()
    hidden: Hidden | None = None


@dataclass(frozen=True)
class RunFacts:
    """A whole run.

    Args:
        run, table: paths as they were given.
        settings: of the run.
        versions: package -> version, as when the run was last started or resumed.
        circumstances: what else is known of that moment (device, threads, kernels), name -> text.
        own_schema: whether the run's transforms or labels are not those of the table.
        notes: one line for each part that is missing or could not be read.
    """

    run: str
    table: str
    settings: RunSettings
    versions: Mapping[str, str] = field(default_factory=dict)
    circumstances: Mapping[str, str] = field(default_factory=dict)
    history: History = History()
    evaluation: Evaluation | None = None
    throughput: Throughput | None = None
    fold: FoldFacts | None = None
    own_schema: bool = False
    notes: tuple[str, ...] = ()
