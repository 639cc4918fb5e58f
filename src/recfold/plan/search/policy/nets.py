"""The networks of the two policies.

piece --21 features and 2--> 128 -> 32 = representation            rank: the sum of its pieces' representations
AutoShard   LSTM (64) over (representation, step) -> context; score of a rank = MLP(context, its sum, its state)
DreamShard  the representation is the context; the same scores, no memory of earlier steps besides the ranks
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from recfold.plan.search.policy.scene import NUM_FEATURES, NUM_STATES

HIDDEN, REPRESENTATION, CONTEXT = 128, 32, 64


class Policy(nn.Module):
    """Args:
    memory: whether an LSTM goes over the pieces, and a critic says what to expect.
    """

    def __init__(self, *, memory: bool) -> None:
        super().__init__()
        self.represent = nn.Sequential(nn.Linear(NUM_FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, REPRESENTATION))
        self.lstm = nn.LSTM(REPRESENTATION + 1, CONTEXT, batch_first=True) if memory else None
        context = CONTEXT if memory else REPRESENTATION
        self.score = nn.Sequential(
            nn.Linear(context + REPRESENTATION + NUM_STATES, CONTEXT), nn.ReLU(), nn.Linear(CONTEXT, 1)
        )
        critic = nn.Sequential(
            nn.Linear(context + REPRESENTATION + 3 * NUM_STATES, CONTEXT), nn.ReLU(), nn.Linear(CONTEXT, 1)
        )
        self.value = critic if memory else None

    def contexts(self, represented_EPR: Tensor) -> Tensor:
        """What is known at each step besides the ranks, [E, P, C]."""
        if self.lstm is None:
            return represented_EPR
        episodes, pieces, _ = represented_EPR.shape
        step = torch.linspace(0, 1, pieces).expand(episodes, pieces).unsqueeze(-1)
        found: Tensor = self.lstm(torch.cat([represented_EPR, step], -1))[0]
        return found

    def logits(self, context: Tensor, sums: Tensor, states: Tensor) -> Tensor:
        """Score of each rank.

        Args:
            context: [..., C].
            sums: of the ranks' representations over the mean number of pieces of a rank, [..., N, R].
            states: [..., N, 3].
        """
        wide = context.unsqueeze(-2).expand(*sums.shape[:-1], context.shape[-1])
        scored: Tensor = self.score(torch.cat([wide, sums, states], -1))
        return scored.squeeze(-1)

    def values(self, context: Tensor, sums: Tensor, states: Tensor) -> Tensor:
        """Expected reward, [...]; 0 where there is no critic."""
        if self.value is None:
            return context.new_zeros(context.shape[:-1])
        ranks = torch.cat([sums.mean(-2), states.mean(-2), states.amin(-2), states.amax(-2)], -1)
        valued: Tensor = self.value(torch.cat([context, ranks], -1))
        return valued.squeeze(-1)


POLICIES: Mapping[str, Callable[[], Policy]] = {
    "autoshard": partial(Policy, memory=True),
    "dreamshard": partial(Policy, memory=False),
}
