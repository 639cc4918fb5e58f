"""The model, its tables and what updates them: one `step` per batch."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.nn.utils import clip_grad_norm_, get_total_norm

from recfold.batch import Batch, plain
from recfold.spec import InputError, Plan, Schema
from recfold.train.assemble import assemble, table_sizes
from recfold.train.dense import build_optimizer, build_schedule
from recfold.train.loss import check_labels, summed_loss, total_weight
from recfold.train.overlap import Upcoming
from recfold.train.parallelize import parallelize
from recfold.train.ranks import OtherRankFailed, Ranks, local_device
from recfold.train.settings import Fold, RunSettings
from recfold.train.traffic import Traffic


class LossNotFinite(InputError):
    """The loss of a batch is NaN or infinite; nothing was updated.

    Attributes:
        loss: the loss.
    """

    def __init__(self, loss: float, cause: str) -> None:
        super().__init__(f"the loss is {loss}", got=cause)
        self.loss = loss
        self.cause = cause


@dataclass(frozen=True)
class Step:
    """What one step did.

    Args:
        loss: of its batch, before the update; with several ranks that of their batches as one.
        weight: sum of the sample weights, over all ranks.
        samples: of all ranks.
        stop: a rank was asked to stop.
        learning_rate: of the dense part (its first parameter group).
        grad_norm: of the dense gradient before clipping; None at a step without dense update, or when not measured.
    """

    loss: float
    weight: float
    samples: int
    stop: bool
    learning_rate: float
    grad_norm: float | None


class Learner:
    """Everything that training changes.

    Args:
        schema: an effective schema.
        settings: of the run.
        updates: dense updates of the whole run, for a schedule that ends with it.
        plan: where tables lie; None for one rank, or one that is searched for.
        ranks: who trains together; every one of them steps, and scores, in the same order.
        ids_per_list: id feature -> mean ids of a list, as measured, the same on every rank.
    Raises:
        InputError: an unknown model, optimizer, schedule, option or device.
    """

    def __init__(
        self,
        schema: Schema,
        settings: RunSettings,
        *,
        updates: int = 1,
        plan: Plan | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
        ids_per_list: Mapping[str, float] | None = None,
    ) -> None:
        train = settings.train
        self.device = resolve_device(train.device)
        self.fold: Fold = train.fold
        self.ranks = ranks
        own = settings.ranks
        self._parallel = parallel = parallelize(
            ranks, table_sizes(schema, settings), plan, codec=own.codec, waves=own.waves
        )
        self.plan = parallel.plan
        self.assembled = assemble(
            schema, settings, self.device, parallel.make_tables, plan=parallel.plan, ids_per_list=ids_per_list
        )
        self.model = self.assembled.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.spread = parallel.over_ranks(self.assembled, self.prepared)
        self.traffic = None if self.spread is None else Traffic(self.spread)
        self._overlaps = settings.ranks.overlap == "on"
        self.optimizer = build_optimizer(self.parameters, train.dense)
        self.schedule = build_schedule(self.optimizer, train.schedule, updates)
        weights = [label.weight for label in schema.labels.values()]
        self.label_weights_L = torch.tensor(weights, dtype=self.assembled.dtype, device=self.device)
        self._clip_norm = train.clip_norm
        self._accumulate = train.accumulate
        self._sums: dict[int, Tensor] = {}  # parameter number -> gradient times weight, summed over batches
        self._batches = 0
        self._weight = 0.0

    def prepared(self, batch: Batch) -> Batch:
        """The batch as this learner reads it: on its device; with fold = off, expanded before any lookup."""
        return (batch.expand() if self.fold == "off" else batch).to(self.device, non_blocking=True)

    def logits(self, prepared: Batch, upcoming: Upcoming | None = None) -> Tensor:
        """Scores before the sigmoid, [B, L], of a prepared batch.

        Args:
            upcoming: on several ranks, takes the batch that is trained on next, whose ids travel meanwhile.
        """
        if self.spread is None or not self._overlaps:
            inputs = self.assembled.inputs(prepared)
        else:
            inputs = self.spread.overlap.inputs(prepared, upcoming)
        with record_function("forward"):
            found = plain(self.model(inputs.unfold() if self.fold == "lookups" else inputs))
        if self.spread is not None:
            self.spread.overlap.settle()
        return found

    def step(
        self, batch: Batch, *, measure: bool = False, stop: bool = False, upcoming: Upcoming | None = None
    ) -> Step:
        """Train on one batch: tables now, the dense part at every `accumulate`-th batch.

        Args:
            measure: take the norm of the dense gradient even where it is not clipped.
            stop: this rank was asked to stop; it tells the others.
            upcoming: on several ranks, takes the batch of the next step, so that its ids travel during this one. It
                changes no result; all ranks give it, or none.
        Raises:
            LossNotFinite: before anything is updated.
            OtherRankFailed: the loss of another rank is not finite.
            InputError: labels outside [0, 1], or a wrong weight.
        """
        check_labels(batch)
        prepared = self.prepared(batch) if self.spread is None else self.spread.overlap.prepared(batch)
        return self.step_prepared(prepared, measure=measure, stop=stop, upcoming=upcoming)

    def step_prepared(
        self, batch: Batch, *, measure: bool = False, stop: bool = False, upcoming: Upcoming | None = None
    ) -> Step:
        """`step` on a batch that is prepared and whose labels are known to be right."""
        if self.traffic is not None:
            self.traffic.begin_step()
        self.model.train()
        loss = summed_loss(self.logits(batch, upcoming), batch, self.label_weights_L)
        self._end_of_pass()
        own = [float(loss.detach()), total_weight(batch), float(batch.num_samples), float(stop)]
        every = self.ranks.numbers(own)
        total, weight, samples, stops = every.sum(0).tolist()
        self._check_finite(every[:, 0].tolist(), weight, batch)
        with record_function("backward"):
            (loss / (weight or 1.0)).backward()
        self._end_of_pass()
        if self.spread is not None:
            self.spread.gradients.finish()
        rate = float(self.optimizer.param_groups[0]["lr"])
        with record_function("update dense"):
            norm = self._update(weight, measure)
        if self.traffic is not None:
            self.traffic.end_step(int(samples))
        return Step(total / (weight or 1.0), weight, int(samples), stops > 0, rate, norm)

    def forget_upcoming(self) -> None:
        """The batch that was read ahead is not trained on: training is over."""
        if self.spread is not None:
            self.spread.overlap.drop()

    def _end_of_pass(self) -> None:
        if self.spread is not None and self.spread.norms is not None:
            self.spread.norms.end()

    def score(self, batch: Batch) -> Tensor:
        """Logits [B, L] of a batch, without training: no dropout, no gradients."""
        self.model.eval()
        with torch.no_grad():
            return self.logits(self.prepared(batch))

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, in parts that `checkpoint.save` takes."""
        return {
            "model": dict(self.model.state_dict()),
            "tables": self.saved_tables(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "accumulated": {"sums": self._sums, "batches": self._batches, "weight": self._weight},
        }

    def saved_tables(self) -> dict[str, Any]:
        """What this rank saves of the tables: name -> tensor, or `Piece` of one."""
        return self._parallel.saved_tables(self.assembled.tables)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of a learner of the same schema and settings.

        Raises:
            InputError: it belongs to another model.
        """
        self.load_weights(state)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        accumulated = state["accumulated"]
        self._sums = {number: tensor.to(self.device) for number, tensor in accumulated["sums"].items()}
        self._batches, self._weight = accumulated["batches"], accumulated["weight"]

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take the weights of a `state_dict` and leave optimizer and schedule alone.

        Raises:
            InputError: it belongs to another model.
        """
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise InputError(
                "the checkpoint belongs to another model", got=str(error).splitlines()[-1].strip()
            ) from None
        self._parallel.load_tables(self.assembled.tables, state["tables"])

    def _check_finite(self, losses: list[float], weight: float, batch: Batch) -> None:
        wrong = [rank for rank, loss in enumerate(losses) if not math.isfinite(loss / (weight or 1.0))]
        if wrong and wrong[0] == self.ranks.rank:
            raise LossNotFinite(losses[wrong[0]] / (weight or 1.0), _cause(batch))
        if wrong:
            raise OtherRankFailed(f"the loss of rank {wrong[0]} is not finite")

    def _update(self, weight: float, measure: bool) -> float | None:
        if self._accumulate > 1 and not self._accumulated(weight):
            return None
        return self._dense_update(measure)

    def flush(self) -> None:
        """Update the dense part with what is accumulated, fewer batches than usual: the end of an epoch."""
        if self._batches:
            self._take_sums()
            self._dense_update(False)

    def _dense_update(self, measure: bool) -> float | None:
        norm: Tensor | None = None
        if self._clip_norm is not None:
            norm = clip_grad_norm_(self.parameters, self._clip_norm)
        elif measure:
            norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.step()
        if self.schedule is not None:
            try:
                self.schedule.step()
            except ValueError as error:
                raise InputError(
                    "the learning-rate schedule ends before the run", got=str(error), todo="give it more steps"
                ) from None
        self.optimizer.zero_grad(set_to_none=True)
        return None if norm is None else float(norm)

    def _accumulated(self, weight: float) -> bool:
        """Add this batch's gradient; True when it was the last one, and `.grad` is that of all as one batch."""
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                part = parameter.grad * weight
                self._sums[number] = self._sums[number] + part if number in self._sums else part
                parameter.grad = None
        self._batches += 1
        self._weight += weight
        if self._batches < self._accumulate:
            return False
        self._take_sums()
        return True

    def _take_sums(self) -> None:
        for number, total in self._sums.items():
            self.parameters[number].grad = total / (self._weight or 1.0)
        self._sums, self._batches, self._weight = {}, 0, 0.0


def resolve_device(name: str) -> torch.device:
    """The device that a setting names; `auto` is a GPU where there is one.

    Raises:
        InputError: not a device, or one that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            device = local_device()
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"cannot use device {name!r}", got=str(error).splitlines()[0], todo="use train.device=cpu"
        ) from None
    return device


def _cause(batch: Batch) -> str:
    for group in batch.groups.values():
        for name in group.dense_keys:
            bad = int((~group.dense_of(name).isfinite()).sum())
            if bad:
                return (
                    f"{bad} values of feature {name!r} in the batch that are not finite (a 'fill' transform mends NaN)"
                )
        lists = [part for part in (group.dense_lists, group.lists) if part is not None]
        for part in lists:
            if part.values.is_floating_point() and not bool(part.values.isfinite().all()):
                return f"values of {', '.join(part.keys)} in the batch that are not finite"
            if part.weights is not None and not bool(part.weights.isfinite().all()):
                return f"weights of {', '.join(part.keys)} in the batch that are not finite"
    return "finite inputs, so the weights diverged (lower the learning rate, or set train.clip_norm)"
