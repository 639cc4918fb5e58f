"""Episodes: a policy places the pieces of boards, one after the other."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recfold.plan.search.policy.nets import Policy
from recfold.plan.search.policy.scene import Scene


@dataclass(frozen=True)
class Episodes:
    """Args:
    ranks_EP: of the pieces in the order of the scene.
    states_EPNS: what the policy saw of the ranks at each step.
    open_EPN: the ranks that it could choose from.
    ms_EN: what each rank costs at the end.
    excess_E: bytes of the fullest rank that are too much, over its room; 0 where all fits.
    """

    ranks_EP: Tensor
    states_EPNS: Tensor
    open_EPN: Tensor
    ms_EN: np.ndarray
    excess_E: np.ndarray

    @property
    def fits_E(self) -> np.ndarray:
        return self.excess_E <= 0


@torch.no_grad()
def act(policy: Policy, scene: Scene, generator: torch.Generator, *, masked: bool, greedy_E: np.ndarray) -> Episodes:
    """Play every episode of a scene.

    Args:
        masked: choose among ranks with room only; where no rank has any, the emptiest is taken and the episode does
            not fit.
        greedy_E: episodes in which the most likely rank is taken; in the others one is drawn.
    """
    num_episodes, num_pieces, num_ranks = scene.shape
    every, cost = np.arange(num_episodes), scene.board.cost
    represented = policy.represent(scene.features_EPF)
    contexts = policy.contexts(represented)
    sums = torch.zeros(num_episodes, num_ranks, represented.shape[-1])
    sums_ENK = np.repeat(scene.shared_EK[:, None], num_ranks, axis=1)
    held = np.zeros((num_episodes, num_ranks))
    ms = cost.ms(sums_ENK.reshape(-1, sums_ENK.shape[-1])).reshape(num_episodes, num_ranks)
    greedy = torch.from_numpy(greedy_E)
    chosen, seen, opened = [], [], []
    for step in range(num_pieces):
        states = scene.states(ms, held)
        after = held + scene.num_bytes_EP[:, step, None]
        open_to = after <= scene.room_E[:, None] if masked else np.ones_like(held, bool)
        open_to |= ~open_to.any(1, keepdims=True) & (held == held.min(1, keepdims=True))
        allowed = torch.from_numpy(open_to)
        logits = policy.logits(contexts[:, step], sums, states).masked_fill(~allowed, -torch.inf)
        drawn = torch.multinomial(torch.softmax(logits, -1), 1, generator=generator).squeeze(1)
        rank = torch.where(greedy, logits.argmax(1), drawn)
        to = rank.numpy()
        sums[torch.from_numpy(every), rank] += represented[:, step] * (num_ranks / num_pieces)
        sums_ENK[every, to] += scene.rows_EPK[:, step]
        held[every, to] = after[every, to]
        ms[every, to] = cost.ms(sums_ENK[every, to])
        chosen.append(rank)
        seen.append(states)
        opened.append(allowed)
    excess = np.maximum(held.max(1) / np.maximum(scene.room_E, 1) - 1, 0)
    return Episodes(torch.stack(chosen, 1), torch.stack(seen, 1), torch.stack(opened, 1), ms, excess)


def rated(policy: Policy, scene: Scene, played: Episodes) -> tuple[Tensor, Tensor, Tensor]:
    """Episodes again, all steps at once and with gradients.

    Returns:
        Logarithm of the likelihood of each choice, entropy, and expected reward, each [E, P].
    """
    num_pieces, num_ranks = scene.shape[1:]
    represented = policy.represent(scene.features_EPF)
    contexts = policy.contexts(represented)
    placed = torch.nn.functional.one_hot(played.ranks_EP, num_ranks).float().unsqueeze(-1)
    added = placed * represented.unsqueeze(2) * (num_ranks / num_pieces)
    sums = added.cumsum(1) - added  # of what was placed before each step
    logits = policy.logits(contexts, sums, played.states_EPNS).masked_fill(~played.open_EPN, -1e9)
    log = torch.log_softmax(logits, -1)
    chosen = log.gather(-1, played.ranks_EP.unsqueeze(-1)).squeeze(-1)
    return chosen, -(log.exp() * log).sum(-1), policy.values(contexts, sums, played.states_EPNS)
