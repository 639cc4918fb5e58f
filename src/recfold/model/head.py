"""Heads: from one representation of a sample to a logit for each label.

Legend: B samples, W width of the representation, H of what the head makes of it, L labels, E experts.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from recfold.model.mlp import mlp
from recfold.spec import InputError, Settings


class HeadSettings(Settings):
    """Options of every model with a deep tower: how several labels share it.

    Args:
        head: `shared-bottom` (one tower for all labels, then what belongs to each) or `mmoe` (a mixture of experts for
            each label).
        towers: hidden widths of each label's own MLP; none for one linear output.
        experts: how many, of `mmoe`; each has the hidden layers that the shared tower would have.
        activation: of every MLP.
        dropout: of the deep tower.
    """

    head: Literal["shared-bottom", "mmoe"] = "shared-bottom"
    towers: tuple[int, ...] = ()
    experts: int = Field(default=4, gt=0)
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Towers(nn.Module):
    """For each label an MLP of its own to one logit.

    Args:
        width: of each label's input.
        hidden: widths between.
    """

    def __init__(self, width: int, hidden: tuple[int, ...], num_labels: int, activation: str) -> None:
        super().__init__()
        self.of_label = nn.ModuleList(
            mlp((width, *hidden, 1), activation=activation, last=False) for _ in range(num_labels)
        )

    def forward(self, given_BH: Sequence[Any]) -> Any:
        """Logits [B, L] of each label's input [B, H]."""
        return torch.cat([tower(own_BH) for tower, own_BH in zip(self.of_label, given_BH, strict=True)], dim=1)


class SharedBottom(nn.Module):
    """One tower for all labels, then a tower for each.

    Formula: y_l = t_l(f(x)), or t_l([c; f(x)]) with columns c beside it.
    Source: Caruana 1997, "Multitask Learning".
    """

    def __init__(
        self, width: int, hidden: tuple[int, ...], num_labels: int, settings: HeadSettings, beside: int = 0
    ) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.bottom = mlp((width, *hidden), activation=settings.activation, dropout=settings.dropout)
        self.towers = Towers((width, *hidden)[-1] + beside, settings.towers, num_labels, settings.activation)

    def forward(self, x_BW: Any, beside_BC: Any = None) -> Any:
        """Logits [B, L]."""
        return self.after_bottom(self.bottom(x_BW), beside_BC)

    def after_bottom(self, shared_BH: Any, beside_BC: Any = None) -> Any:
        """Logits [B, L] of what the tower gives."""
        if beside_BC is not None:
            shared_BH = torch.cat([beside_BC, shared_BH], dim=1)
        return self.towers([shared_BH] * self.num_labels)


class Mmoe(nn.Module):
    """A mixture of experts for each label, then its tower.

    Formula: y_l = t_l(sum over e of softmax(G_l x)_e f_e(x)), with columns c beside the sum in t_l's input where given.
    Source: Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts".

    Raises:
        InputError: the experts have no hidden layer, so that all of them are the same.
    """

    def __init__(
        self, width: int, hidden: tuple[int, ...], num_labels: int, settings: HeadSettings, beside: int = 0
    ) -> None:
        super().__init__()
        if not hidden:
            raise InputError("the experts of mmoe have no hidden layer", todo="give the model's tower a width")
        self.experts = nn.ModuleList(
            mlp((width, *hidden), activation=settings.activation, dropout=settings.dropout)
            for _ in range(settings.experts)
        )
        self.gates = nn.Linear(width, num_labels * settings.experts, bias=False)
        self.towers = Towers(hidden[-1] + beside, settings.towers, num_labels, settings.activation)

    def forward(self, x_BW: Any, beside_BC: Any = None) -> Any:
        """Logits [B, L]."""
        experts_BEH = torch.stack([expert(x_BW) for expert in self.experts], dim=1)
        gates_BLE = self.gates(x_BW).unflatten(1, (-1, len(self.experts))).softmax(dim=2)
        mixed_BH: Sequence[Any] = torch.bmm(gates_BLE, experts_BEH).unbind(dim=1)
        if beside_BC is not None:
            mixed_BH = [torch.cat([beside_BC, own_BH], dim=1) for own_BH in mixed_BH]
        return self.towers(mixed_BH)


def build_head(
    width: int, hidden: tuple[int, ...], num_labels: int, settings: HeadSettings, *, beside: int = 0
) -> nn.Module:
    """What turns a representation [B, width] into logits [B, num_labels].

    Args:
        hidden: widths of the shared tower, or of each expert.
        beside: columns that join what comes out of it; the head is then called with both.
    Raises:
        InputError: experts without a hidden layer, or an unknown activation.
    """
    if settings.head == "mmoe":
        return Mmoe(width, hidden, num_labels, settings, beside)
    if settings.towers or beside:
        return SharedBottom(width, hidden, num_labels, settings, beside)
    widths = (width, *hidden, num_labels)
    return mlp(widths, activation=settings.activation, dropout=settings.dropout, last=False)


def first_linear(head: nn.Module) -> tuple[str, nn.Linear] | None:
    """The one layer that reads a head's input, and its name in the head; None where there are several.

    >>> first_linear(build_head(3, (4,), 1, HeadSettings()))
    ('0', SampleLinear(in_features=3, out_features=4, bias=True))
    """
    where, layers = ("bottom.", head.bottom) if isinstance(head, SharedBottom) else ("", head)
    if isinstance(layers, nn.Sequential) and len(layers) and isinstance(layers[0], nn.Linear):
        return f"{where}0", layers[0]
    return None


def split_first(head: nn.Module) -> tuple[nn.Linear, Callable[[Any], Any]]:
    """The `first_linear` of a head that has one, and what follows."""
    found = first_linear(head)
    assert found is not None
    if isinstance(head, SharedBottom):
        return found[1], lambda hidden_BH: head.after_bottom(head.bottom[1:](hidden_BH))
    assert isinstance(head, nn.Sequential)
    return found[1], head[1:]
