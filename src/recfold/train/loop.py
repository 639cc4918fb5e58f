"""The training loop: steps, journal, evaluations, checkpoints, and going on from one of them bit for bit."""

import dataclasses
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recfold.batch import Batch
from recfold.checkpoint import Writer, random_state, saved_steps, set_random_state
from recfold.reader import Reader
from recfold.spec import InputError, Plan, Schema, unknown
from recfold.table import FoldedTable
from recfold.train.evaluation import Evaluation, evaluation_of
from recfold.train.feed import Feed
from recfold.train.interrupt import StopRequest
from recfold.train.journal import Journal, NoJournal
from recfold.train.learner import Learner, LossNotFinite, Step
from recfold.train.offending import save_offending_batch
from recfold.train.progress import TrainProgress
from recfold.train.ranks import Ranks, current_ranks
from recfold.train.run import Run
from recfold.train.scores import Scored, ids_per_list, reader_of, score
from recfold.train.settings import RunSettings
from recfold.train.stopping import Stopping
from recfold.train.tracing import Tracing
from recfold.train.traffic import Sent

_BETWEEN_RANKS = 1_000_003


@dataclass
class Window:
    """Sums over the steps since the last journal record."""

    loss: float = 0.0
    weight: float = 0.0
    samples: int = 0

    @property
    def mean_loss(self) -> float | None:
        return self.loss / self.weight if self.weight > 0 else None


@dataclass(frozen=True)
class Parts:
    """What a loop is put together from.

    Args:
        total_steps: that the run will take if nothing stops it.
        stop_label: whose metric early stopping compares.
    """

    table: FoldedTable
    reader: Reader
    learner: Learner
    total_steps: int
    stop_label: str


def parts_of(
    table: FoldedTable, schema: Schema, settings: RunSettings, ranks: Ranks, plan: Plan | None = None
) -> Parts:
    """Build the reader and the learner, and try everything that can be wrong with the settings.

    Raises:
        InputError: no training samples, or settings that the model, optimizer, schedule or early stopping refuses.
    """
    train = settings.train
    if "train" not in table.splits():
        raise InputError(f"table {table.path} has no training samples")
    if train.stop.metric is not None and "validation" not in table.splits():
        raise InputError("early stopping needs validation samples", todo="fold with another --split-time")
    if train.stop.label is not None and train.stop.label not in schema.labels:
        raise unknown("label", train.stop.label, schema.labels)
    reader = reader_of(table, "train", schema, settings, order=train.order, ranks=ranks)
    steps_of_epoch = reader.num_steps()
    total_steps = train.epochs * steps_of_epoch
    if train.max_steps is not None:
        total_steps = min(total_steps, train.max_steps)
    try:
        whole, rest = divmod(total_steps, steps_of_epoch)  # what is accumulated is used up at the end of an epoch
        updates = whole * math.ceil(steps_of_epoch / train.accumulate) + math.ceil(rest / train.accumulate)
        measures = ranks.size > 1 and settings.ranks.partial != "off"
        measured = ids_per_list(table, schema, settings) if measures else None
        learner = Learner(schema, settings, updates=updates, plan=plan, ranks=ranks, ids_per_list=measured)
    except BaseException:
        reader.close()
        raise
    return Parts(table, reader, learner, total_steps, train.stop.label or next(iter(schema.labels)))


class Loop:
    """A run under way.

    Args:
        run: its directory and settings.
        parts: the table, its reader and the learner.
        journal: where it writes.
        writer: of its checkpoints.
        progress: who is told.
        tracing: of some of its steps.
    """

    def __init__(
        self,
        run: Run,
        parts: "Parts",
        journal: Journal | NoJournal,
        writer: Writer,
        progress: TrainProgress,
        tracing: Tracing | None = None,
    ) -> None:
        self.run, self.journal, self.writer, self.progress = run, journal, writer, progress
        self.ranks, self.tracing = parts.learner.ranks, tracing
        self.table, self.learner, self._feed = parts.table, parts.learner, Feed(parts.reader)
        self._reader = parts.reader
        self.total_steps, self.stop_label = parts.total_steps, parts.stop_label
        self.settings = run.settings.train
        self.step = self.epoch = self.samples = 0
        self.weights_step = 0
        self.window, self.stopping = Window(), Stopping()
        self.last_loss: float | None = None
        self._first_step, self._saved, self._stop = 0, False, False
        self._logged: Sent | None = None
        self._clock = self._window_clock = 0.0  # seconds spent in steps, reading included
        self._scored: tuple[int, Scored | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on bit for bit needs; on other ranks than the first, what only they hold."""
        own = {"tables": self.learner.saved_tables(), "random": random_state()}
        if not self.ranks.is_first:
            return own
        return {
            **self.learner.state_dict(),
            **own,
            "reader": self._feed.state_dict(),
            "loop": {
                "step": self.step,
                "epoch": self.epoch,
                "samples": self.samples,
                "window": dataclasses.asdict(self.window),
                "stopping": dataclasses.asdict(self.stopping),
                "last_loss": self.last_loss,
                "journal_records": self.journal.records,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.learner.load_state_dict(state)
        self._reader.load_state_dict(state["reader"])
        if state.get("world_size", 1) == self.ranks.size:
            set_random_state(state["random"])
        loop = state["loop"]
        self.step, self.epoch, self.samples = loop["step"], loop["epoch"], loop["samples"]
        self.window, self.stopping = Window(**loop["window"]), Stopping(**loop["stopping"])
        self.last_loss = loop["last_loss"]
        self._first_step, self.weights_step, self._saved = self.step, self.step, True

    def train(self) -> str:
        """Train to the end.

        Returns:
            Why it ended: `finished`, `early stopping` or `interrupted`; the last state is saved in any case.
        Raises:
            InputError: a loss that is not finite (the batch is saved), or data that cannot be trained on.
        """
        with StopRequest() as request:
            while not self._done():
                self._steps_of_epoch(request)
                self.learner.forget_upcoming()
                if self.ranks.any(self._stop or request.signal_name is not None):
                    name = request.signal_name or "a signal to another rank"
                    self.event(f"stopped by {name} after step {self.step}")
                    self.save()
                    self.writer.wait()
                    return "interrupted"
            if not self._saved:
                self.save()
            self.writer.wait()
        return "early stopping" if self.stopping.stopped else "finished"

    def event(self, message: str) -> None:
        """Note something in the journal."""
        self.journal.write("event", self.step, message=message)

    def save(self) -> None:
        """Save a checkpoint of this moment."""
        self.journal.flush()
        self.writer.save(self.step, self.state_dict(), best_step=self.stopping.best_step)
        self._saved = True

    def take_weights(self, step: int, state: dict[str, Any]) -> None:
        """Give the learner the weights of another checkpoint, to evaluate them; training is over then."""
        self.learner.load_weights(state)
        self.weights_step = step

    def _done(self) -> bool:
        return self.stopping.stopped or self.epoch >= self.settings.epochs or self.step >= self._step_limit()

    def _steps_of_epoch(self, request: StopRequest) -> None:
        started = time.perf_counter()
        for batch in self._feed.epoch():
            self._train_on(batch, request)
            self._clock += time.perf_counter() - started
            self._tell()
            if self.step % self.settings.log_every == 0:
                self._log()
            self._after_step()
            # ranks go by what all of them have heard
            if self.stopping.stopped or (self._stop if self.ranks.size > 1 else request.signal_name is not None):
                return
            if self.step >= self._step_limit() and self._feed.num_steps() > 0:
                return
            started = time.perf_counter()
        self.epoch += 1
        self._saved, self._scored = False, None
        self.learner.flush()
        improved = self.settings.eval_every == "epoch" and self._evaluate()
        if improved or self.settings.checkpoint_every == "epoch":
            self.save()

    def _train_on(self, batch: Batch, request: StopRequest) -> None:
        number = self.step + 1
        measure = number % self.settings.log_every == 0
        try:
            with nullcontext() if self.tracing is None else self.tracing.step(number):
                done = self.learner.step(
                    batch,
                    measure=measure,
                    stop=request.signal_name is not None,
                    upcoming=self._feed.ahead if number < self._step_limit() else None,
                )
        except LossNotFinite as error:
            self.writer.wait()
            folder = save_offending_batch(
                self.run.path, batch, step=number, epoch=self.epoch, loss=repr(error.loss), cause=error.cause
            )
            self.event(f"the loss of step {number} is {error.loss}: {error.cause}")
            raise InputError(
                f"the loss of step {number} (epoch {self.epoch}) is {error.loss}",
                got=error.cause,
                todo=f"the batch is in {folder}"
                + (", the last checkpoint is intact" if saved_steps(self.run.path) else ""),
            ) from None
        if self.tracing is not None and self.tracing.is_fresh():
            self.journal.write("profile", number, **self.tracing.figures())
        self.step = self.weights_step = number
        self.samples += done.samples
        self._stop = done.stop
        self._saved = False
        self.window.loss += done.loss * done.weight
        self.window.weight += done.weight
        self.window.samples += done.samples
        self.last_loss = self.window.mean_loss
        self._last_step, self._last_batch = done, batch

    def _after_step(self) -> None:
        every, improved = self.settings.eval_every, False
        if isinstance(every, int) and self.step % every == 0:
            improved = self._evaluate()
        every_save = self.settings.checkpoint_every
        if improved or (isinstance(every_save, int) and self.step % every_save == 0):
            self.save()

    def _log(self) -> None:
        done: Step = self._last_step
        seconds = self._clock - self._window_clock
        self.journal.write(
            "step",
            self.step,
            epoch=self.epoch,
            samples=self.samples,
            loss=self.last_loss,
            samples_per_s=self.window.samples / seconds if seconds > 0 else None,
            lr=done.learning_rate,
            grad_norm=done.grad_norm if done.grad_norm is not None and math.isfinite(done.grad_norm) else None,
            rows_touched=self.learner.assembled.rows_touched(self._last_batch),
            **self._wire(),
        )
        self.window, self._window_clock = Window(), self._clock

    def _wire(self) -> dict[str, Any]:
        """What crossed the wire a step since the last record; every rank asks."""
        if self.learner.traffic is None:
            return {}
        now = self.learner.traffic.so_far()
        sent, self._logged = now.since(self._logged).over(self.ranks), now
        return {"wire_bytes": sent.per_step(), "wire_dense_bytes": sent.dense_per_step()}

    def _tell(self) -> None:
        steps = self.step - self._first_step
        speed = self._clock / steps
        details = {"epoch": float(self.epoch), "seconds_left": speed * (self.total_steps - self.step)}
        if self.last_loss is not None:
            details["loss"] = self.last_loss
        details["samples_per_s"] = self._last_step.samples / speed if speed > 0 else 0.0
        self.progress("train", self.step, self.total_steps, **details)

    def _evaluate(self) -> bool:
        """Evaluate on the validation split; whether the checkpoint of this step should be kept as the best."""
        if "validation" not in self.table.splits():
            return False
        found = self.evaluation(baselines=False)
        value: float | None = None
        if found is not None:
            metrics = {label: values.model.model_dump() for label, values in found.labels.items()}
            self.journal.write("evaluation", self.step, epoch=self.epoch, split="validation", labels=metrics)
            if self.settings.stop.metric is not None:
                value = getattr(found.labels[self.stop_label].model, self.settings.stop.metric)
        if self.settings.stop.metric is None:
            return False
        value = self.ranks.first(value)
        self.stopping = self.stopping.after(value, self.step, self.settings.stop)
        if self.stopping.stopped:
            self.event(f"stopping early: {self.settings.stop.metric} was best after step {self.stopping.best_step}")
        return self.stopping.best_step == self.step

    def evaluation(self, *, baselines: bool) -> Evaluation | None:
        """Evaluate the learner as it is now on the validation split; its scores are kept until the next step.

        Every rank scores its share; the first one has all scores, the others get None.
        """
        schema, step = self.run.schema, self.weights_step
        if self._scored is None or self._scored[0] != step:
            scores = score(self.learner, self.table, "validation", schema, self.run.settings, self.progress)
            self._scored = (step, scores)
        if self._scored[1] is None:
            return None
        return evaluation_of(self._scored[1], self.table, "validation", schema, step=step, baselines=baselines)

    def _step_limit(self) -> int:
        return self.settings.max_steps or (1 << 62)


@contextmanager
def own_generators(seed: int, threads: int | None) -> Iterator[None]:
    """Inside it all random generators start from `seed` and torch has so many threads; afterwards all is as before.

    Ranks draw different numbers: each has its own seed.
    """
    seed += _BETWEEN_RANKS * current_ranks().rank
    before, threads_before = random_state(), torch.get_num_threads()
    try:
        random.seed(seed)
        np.random.seed(seed % (1 << 32))  # noqa: NPY002  the process-wide generator, which checkpoints save
        torch.manual_seed(seed)
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        set_random_state(before)
        torch.set_num_threads(threads_before)
