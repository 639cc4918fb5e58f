"""The cost network in torch: a network per piece, a sum over the pieces of a set, a head.

    inputs_P22 -> 128 -> 32 -> softplus -> times the piece's scale ms -> sums_M32
    sums_M32 -> logarithms -> 64 -> 1, times the mean of the sums -> ms_M

The scale of a piece is the analytic formula's: the network has to learn by how much it is wrong, and by how much the
cost of a set is not the sum of its pieces' (op overheads, a shared cache). A set of no pieces costs nothing.

Source: AutoShard (arXiv 2208.06399), section 3.2, without the scales.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recfold.plan.cost.inputs import NAMES

HIDDEN, WIDTH, HEAD = 128, 32, 64
LEAST_MS = 1e-3
"""Added to sums before their logarithm."""

FURTHEST = 4.0
"""Standard deviations that an input is taken to be from the mean at most: further out nothing was learned."""

LEAST_STD = 0.05
"""Of an input: bins that hardly a table has would else be blown up."""

BOUND = 1.0
"""The head multiplies by e^-BOUND to e^BOUND."""


@dataclass(frozen=True)
class Sets:
    """Measured sets, their pieces one after the other.

    Args:
        inputs: float32 [P, 22], not normalised.
        scale_ms: float32 [P].
        set_of: int64 [P], which set a piece is of, rising.
        ms: float32 [M].
    """

    inputs: Tensor
    scale_ms: Tensor
    set_of: Tensor
    ms: Tensor

    @classmethod
    def of(cls, inputs: Sequence[np.ndarray], scale_ms: Sequence[np.ndarray], ms: Sequence[float]) -> "Sets":
        """From arrays [P, 22] and [P] of each set."""
        sizes = torch.tensor([len(own) for own in scale_ms])
        return cls(
            torch.from_numpy(np.concatenate(inputs)).float(),
            torch.from_numpy(np.concatenate(scale_ms)).float(),
            torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            torch.tensor(ms, dtype=torch.float32),
        )

    def __len__(self) -> int:
        return len(self.ms)

    def take(self, numbers: Tensor) -> "Sets":
        """Some of them, in that order."""
        sizes = torch.bincount(self.set_of, minlength=len(self))
        starts = sizes.cumsum(0) - sizes
        own = sizes[numbers]
        within = torch.arange(int(own.sum())) - torch.repeat_interleave(own.cumsum(0) - own, own)
        places = torch.repeat_interleave(starts[numbers], own) + within
        set_of = torch.repeat_interleave(torch.arange(len(numbers)), own)
        return Sets(self.inputs[places], self.scale_ms[places], set_of, self.ms[numbers])


class CostNetwork(nn.Module):
    """Milliseconds of sets of pieces.

    Args:
        mean, std: of the inputs, [22].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.pieces = nn.Sequential(nn.Linear(len(NAMES), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        self.head = nn.Sequential(nn.Linear(WIDTH, HEAD), nn.ReLU(), nn.Linear(HEAD, 1))

    def rows(self, inputs_PF: Tensor, scale_P: Tensor) -> Tensor:
        """What of each piece adds up, [P, 32]."""
        inputs_PF = ((inputs_PF - self.mean) / self.std).clamp(-FURTHEST, FURTHEST)
        found: Tensor = nn.functional.softplus(self.pieces(inputs_PF))
        return found * scale_P.unsqueeze(1)

    def ms(self, sums_MK: Tensor) -> Tensor:
        """Milliseconds [M]."""
        factor = self.head(torch.log(sums_MK + LEAST_MS)).squeeze(1)
        return sums_MK.mean(1) * torch.exp(BOUND * torch.tanh(factor / BOUND))

    def forward(self, sets: Sets) -> Tensor:
        """Milliseconds [M] of whole sets."""
        return self.ms(self.sums(sets))

    def sums(self, sets: Sets) -> Tensor:
        """[M, 32]"""
        rows_PK = self.rows(sets.inputs, sets.scale_ms)
        return rows_PK.new_zeros(len(sets), WIDTH).index_add(0, sets.set_of, rows_PK)


@dataclass(frozen=True)
class Training:
    """How it is trained.

    Args:
        epochs: at most.
        patience: epochs without a better validation error before it stops.
        batch_size: sets of a step.
        learning_rate: at first; it falls along a half cosine.
        weight_decay: of AdamW.
        subadditive: weight of what the cost of two sets together is more than that of both.
        seed: of weights and order.
    """

    epochs: int = 400
    patience: int = 80
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    subadditive: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Curve:
    """Errors by epoch: mean absolute log ratio of the training sets, and of the validation sets."""

    train: tuple[float, ...]
    validation: tuple[float, ...]


def train_network(
    train: Sets,
    validation: Sets,
    how: Training = Training(),
    *,
    tell: Callable[[int, float], None] = lambda epoch, error: None,
) -> tuple[CostNetwork, Curve]:
    """Train until the validation error falls no more; the network of the best epoch.

    Args:
        tell: is called with each epoch and its validation error.
    """
    generator = torch.Generator().manual_seed(how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        network = CostNetwork(train.inputs.mean(0), train.inputs.std(0).clamp_min(LEAST_STD))
    optimizer = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.epochs)
    best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    least, since, errors, checks = float("inf"), 0, [], []
    for epoch in range(how.epochs):
        total = 0.0
        for numbers in torch.randperm(len(train), generator=generator).split(how.batch_size):
            total += _step(network, optimizer, train.take(numbers), how.subadditive) * len(numbers)
        schedule.step()
        errors.append(total / len(train))
        with torch.no_grad():
            checks.append(float(torch.log(network(validation) / validation.ms).abs().mean()))
        tell(epoch, checks[-1])
        since += 1
        if checks[-1] < least:
            least, since = checks[-1], 0
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if since > how.patience:
            break
    network.load_state_dict(best)
    return network, Curve(tuple(errors), tuple(checks))


def _step(network: CostNetwork, optimizer: torch.optim.Optimizer, batch: Sets, subadditive: float) -> float:
    """One update; the mean absolute log ratio before it."""
    sums = network.sums(batch)
    ms = network.ms(sums)
    ratio = torch.log(ms / batch.ms)
    loss = nn.functional.huber_loss(ratio, torch.zeros_like(ratio), delta=0.05) / 0.05
    if subadditive and len(batch) > 1:
        # neighbours in a random order are random pairs
        together = network.ms(sums + sums.roll(1, 0))
        loss = loss + subadditive * torch.relu(torch.log(together / (ms + ms.roll(1, 0)))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(ratio.detach().abs().mean())
