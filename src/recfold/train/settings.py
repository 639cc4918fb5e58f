"""Everything that a training run can be told, typed and frozen: `--set group.key=value` overrides any of it."""

from typing import Any, Literal

from pydantic import Field, model_validator

from recfold.spec import InputError, Settings

Fold = Literal["on", "lookups", "off"]
MetricName = Literal["ne", "logloss", "auc", "auc_by_request", "auc_by_session"]


class ModelChoice(Settings):
    """Which model, and what it sees.

    Args:
        options: of the model (`model.options.top=[64,1]`): its own settings class checks them.
        without: features of the table that it is not shown.
    """

    name: str = "dlrm"
    options: dict[str, Any] = Field(default_factory=dict)
    without: tuple[str, ...] = ()


class TableDefaults(Settings):
    """Embedding tables, where the schema does not say otherwise.

    Args:
        dim: width of every table's rows; None leaves what the schema says (16 where it says nothing).
        kernel: `auto` takes FBGEMM where it is installed and can do what the table asks, else torch.
        optimizer, learning_rate, eps, weight_decay, beta1, beta2: the exact sparse update, one per table and step.
    """

    dim: int | None = Field(default=None, gt=0)
    kernel: Literal["auto", "fbgemm", "torch"] = "auto"
    optimizer: Literal["sgd", "adagrad", "rowwise_adagrad", "adam"] = "rowwise_adagrad"
    learning_rate: float = Field(default=0.01, gt=0)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)


class ReadAhead(Settings):
    """How batches are fetched; none of it changes what is trained, except `shuffle_window` and `block_samples`.

    Args:
        workers: processes that decode and transform ahead; 0 does it in this process.
        prefetch: batches that wait in the queue at most.
        shuffle_window: row groups whose sessions are shuffled together.
        block_samples: samples of a block of sessions, the unit that is dealt to ranks.
    """

    workers: int = Field(default=1, ge=0)
    prefetch: int = Field(default=4, gt=0)
    shuffle_window: int = Field(default=2, gt=0)
    block_samples: int = Field(default=8192, gt=0)


class DenseOptimizer(Settings):
    """Any optimizer of torch.optim by name, with its own options (`train.dense.options.lr=0.01`)."""

    name: str = "Adam"
    options: dict[str, Any] = Field(default_factory=lambda: {"lr": 1e-3})


class Schedule(Settings):
    """Learning rate of the dense part, stepped once per dense update.

    Args:
        name: `constant`; `warmup_cosine` (linear from 0 over `warmup` updates, then a half cosine down to `floor`
            times the rate at update `total`, by default the last of the run as it was first asked for); or any
            schedule of torch.optim.lr_scheduler by name.
        options: of that schedule.
    """

    name: str = "constant"
    options: dict[str, Any] = Field(default_factory=dict)


class EarlyStopping(Settings):
    """Stop when the validation metric has not become better `patience` evaluations in a row.

    Args:
        metric: what is compared; None never stops early.
        label: whose metric; the first label where not given.
        patience: evaluations without a new best that are allowed before the run stops.
        min_delta: how much better a new best has to be.
    """

    metric: MetricName | None = None
    label: str | None = None
    patience: int = Field(default=2, gt=0)
    min_delta: float = Field(default=0.0, ge=0)


class TrainSettings(Settings):
    """The training loop. A step is one batch.

    Args:
        batch_size: samples of a batch.
        epochs: passes over the training split.
        max_steps: stop after so many steps, whatever the epoch; None for no limit.
        fold: `on` computes on distinct rows as far as the algebra allows; `lookups` looks up distinct rows and copies
            them out right after; `off` expands each batch first, the plain way. All three train the same model.
        order: `shuffle`, or `time` as CTR models are trained.
        seed: of weights, dropout and order.
        dense: optimizer of everything but the embedding tables.
        schedule: its learning rate over time.
        clip_norm: bound on the norm of the dense gradient; None for no bound.
        accumulate: batches per dense update, which is that of these batches taken as one (fewer at the end of an
            epoch). Embedding tables are updated at every batch, with its own loss.
        stop: early stopping.
        eval_every: steps between evaluations on the validation split; or `epoch`, `never`.
        checkpoint_every: steps between checkpoints; or `epoch`. One is always saved at the end.
        keep: how many of the last checkpoints stay, besides the best.
        log_every: steps between journal records.
        throughput_steps: steps of each way (fold on, lookups, off) that are timed at the end of the run; 0 skips it.
        threads: of torch's CPU operations; None leaves torch's choice.
        dtype: of all computation and weights.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU where there is one.
    """

    batch_size: int = Field(default=4096, gt=0)
    epochs: int = Field(default=1, gt=0)
    max_steps: int | None = Field(default=None, gt=0)
    fold: Fold = "on"
    order: Literal["time", "shuffle"] = "shuffle"
    seed: int = Field(default=0, ge=0)
    dense: DenseOptimizer = DenseOptimizer()
    schedule: Schedule = Schedule()
    clip_norm: float | None = Field(default=None, gt=0)
    accumulate: int = Field(default=1, gt=0)
    stop: EarlyStopping = EarlyStopping()
    eval_every: int | Literal["epoch", "never"] = "epoch"
    checkpoint_every: int | Literal["epoch"] = "epoch"
    keep: int = Field(default=2, gt=0)
    log_every: int = Field(default=10, gt=0)
    throughput_steps: int = Field(default=10, ge=0)
    threads: int | None = Field(default=None, gt=0)
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        for name in ("eval_every", "checkpoint_every"):
            every = getattr(self, name)
            if isinstance(every, int) and every < 1:
                raise ValueError(f"{name} must be at least 1 step, or a word")
        if self.stop.metric is not None and self.eval_every == "never":
            raise ValueError("early stopping needs evaluations: eval_every is 'never'")
        return self


class RankSettings(Settings):
    """Several ranks.

    Args:
        timeout_s: how long a rank that does not answer is waited for. One that was killed is noticed at once.
        codec: how looked-up rows and their gradients travel: fp32 (as they are), fp16, bf16, int8.
        overlap: `on` lets ids of the next batch, rows and gradients travel while a rank computes; `off` waits for rows
            before the model begins. Both train the same model, bit for bit.
        waves: each rank answers with so many messages to every other one, and looks up the rows of one while those of
            the one before travel. Any number trains the same model, bit for bit.
        memory_gb: that embedding tables may take on each rank; None for what is free.
        partial: whether ranks add up their own rows for what is linear in them, so that sums travel instead of rows:
            `auto` where that makes a step cheaper by counted bytes and multiplications, `on` wherever it is possible.
    """

    timeout_s: float = Field(default=600.0, gt=0)
    codec: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    overlap: Literal["on", "off"] = "on"
    waves: int = Field(default=1, ge=1, le=64)
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    partial: Literal["auto", "on", "off"] = "auto"


class RunSettings(Settings):
    """A whole training run: what `settings.json` of the run holds."""

    model: ModelChoice = ModelChoice()
    train: TrainSettings = TrainSettings()
    tables: TableDefaults = TableDefaults()
    reader: ReadAhead = ReadAhead()
    ranks: RankSettings = RankSettings()


MAY_CHANGE = ("ranks.timeout_s", "ranks.memory_gb", "ranks.overlap", "ranks.waves", "ranks.partial")
"""What changes nothing in what is trained, but for the order in which numbers are added."""

MAY_GROW = ("train.epochs", "train.max_steps")
"""What a resumed run may be given more of."""


def check_resumable(before: RunSettings, now: RunSettings) -> None:
    """A resumed run has the settings it was started with, except for more epochs and more steps.

    Raises:
        InputError: other settings differ, or epochs or steps became fewer; it lists them.
    """
    old, new = setting_leaves(before.model_dump()), setting_leaves(now.model_dump())
    wrong = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and key not in MAY_CHANGE
        and not (key in MAY_GROW and _grew(old[key], new[key]))
    ]
    if wrong:
        raise InputError(
            "a resumed run keeps its settings",
            got=", ".join(wrong),
            expected=f"the same, or more {' or '.join(MAY_GROW)}",
            todo="resume without other settings, or train into a new directory",
        )


def _grew(before: int | None, now: int | None) -> bool:
    return now is None or (before is not None and now > before)


def setting_leaves(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one dict with dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            leaves |= setting_leaves(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves
