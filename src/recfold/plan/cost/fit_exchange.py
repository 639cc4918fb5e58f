"""Trains the forward and the backward head of the exchange on measured all-to-alls."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from recfold.plan.cost.exchange import exchange_inputs
from recfold.spec import InputError

HIDDEN = 32
STEPS = 1500
LEAST = 20
HELD_EVERY = 5

HEADS = ("forward", "backward")


def fit_exchange(measured: Sequence[dict[str, float]], seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Train both heads.

    Args:
        measured: of `measure_exchanges`.
    Returns:
        Arrays of `NeuralExchange`, and the mean absolute percentage error of each head on held-out rounds.
    Raises:
        InputError: too few measurements.
    """
    if len(measured) < LEAST:
        raise InputError("too few exchanges to learn from", got=len(measured), expected=f"at least {LEAST}")
    columns = {name: np.array([own[name] for own in measured], dtype=np.float64) for name in measured[0]}
    inputs = torch.from_numpy(exchange_inputs(columns["ranks"], columns["own_bytes"], columns["most_bytes"])).float()
    held = torch.arange(len(measured)) % HELD_EVERY == 0
    arrays: dict[str, np.ndarray] = {}
    errors = {}
    for head in HEADS:
        ms = torch.from_numpy(columns[f"{head}_ms"]).float()
        network = _train(inputs[~held], ms[~held], seed)
        with torch.no_grad():
            predicted = torch.exp(network(inputs[held]).squeeze(1))
        errors[head] = float(((predicted - ms[held]).abs() / ms[held]).mean())
        arrays |= {f"{head}.{name}": tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}
    return arrays, errors


def _train(inputs: torch.Tensor, ms: torch.Tensor, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = nn.functional.huber_loss(network(inputs).squeeze(1), torch.log(ms), delta=0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network
