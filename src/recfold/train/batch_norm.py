"""Batch norm over the samples of all ranks: the statistics of the ranks' batches taken as one.

Legend: U distinct rows, C channels, c_u samples that use row u (1 where nothing is folded), N samples of all ranks
times positions of a row.

Formula: mean = sum c_u x_u / N, variance = sum c_u (x_u - mean)^2 / N over the rows of all ranks; the running variance
gets N / (N - 1) of it. With g_u = weight * dL/dy_u and h_u the normalised row,
dL/dx_u = (g_u - c_u (S1 + h_u S2) / N) / std, where S1 = sum g_u and S2 = sum g_u h_u over the rows of all ranks.
Ranks' means and squared deviations are joined as in Chan et al. 1979, "Updating formulae and a pairwise algorithm for
computing sample variances"; in rank order, so that every rank has the same bits.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from recfold.batch import Folded, plain
from recfold.spec import InputError
from recfold.train.ranks import Ranks, losses

_END = -1.0


class Meetings:
    """Numbers that all ranks tell each other in the middle of a step, each time for the same purpose.

    Args:
        ranks: who meets.
        most: numbers that are told at one time.
    """

    def __init__(self, ranks: Ranks, most: int) -> None:
        self._ranks, self._most = ranks, most
        self._calls = 0

    def meet(self, purpose: float, own_N: Tensor) -> Tensor:
        """The numbers of every rank, float64 [ranks, N], in rank order.

        Raises:
            InputError: on every rank, where one is here for another purpose: it has normalised more or fewer times.
        """
        mine = torch.zeros(2 + self._most, dtype=torch.float64)
        mine[0], mine[1] = purpose, self._calls
        mine[2 : 2 + len(own_N)] = own_N.detach().to("cpu", torch.float64)
        every = [torch.empty_like(mine) for _ in range(self._ranks.size)]
        with losses():
            dist.all_gather(every, mine, group=self._ranks.group)
        heads = [tuple(numbers[:2].tolist()) for numbers in every]
        differs = [rank for rank, head in enumerate(heads) if head != heads[0]]
        if differs:
            raise InputError(
                "ranks have called batch norm in different numbers or orders in one step",
                got=f"rank {differs[0]} {_said(heads[differs[0]])}",
                expected=f"as rank 0, which {_said(heads[0])}",
                todo="let every rank run the same layers, whatever its batch holds",
            )
        self._calls += 1
        return torch.stack(every)[:, 2 : 2 + len(own_N)]

    def end(self) -> None:
        """Said by every rank after its forward, and after its backward."""
        self.meet(_END, torch.empty(0))
        self._calls = 0


class RanksBatchNorm(nn.Module):
    """`BatchNorm1d`, 2d and 3d over all ranks, with the same parameters and buffers under the same names.

    Rows of a Folded count as often as samples use them. Without training, and where no statistics are kept, a rank
    normalises by itself as the ordinary module does.

    Args:
        own: the module whose place it takes.
        place: its number in the model.
        meetings: of all such modules.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, own: nn.modules.batchnorm._BatchNorm, place: int, meetings: Meetings) -> None:
        super().__init__()
        self.weight, self.bias = own.weight, own.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(own, name))
        self.eps, self.momentum, self.num_features = own.eps, own.momentum, own.num_features
        self._place, self._meetings = float(place), meetings
        self.training = own.training

    def forward(self, rows: Any) -> Any:
        """Normalised rows [B, C] or [B, C, ...]; a Folded stays one."""
        if not self.training:
            is_batch = self.running_mean is None
            return batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, is_batch, 0.0, self.eps
            )
        is_folded = isinstance(rows, Folded) and rows.batch_axis == 0
        x_UC = rows.values if is_folded else plain(rows)
        if x_UC.dim() < 2 or x_UC.shape[1] != self.num_features:
            raise InputError(
                "batch norm got rows of another width", got=list(x_UC.shape), expected=f"[B, {self.num_features}, ...]"
            )
        counts_U = rows.index.counts(x_UC.device) if is_folded else None
        mean_C, var_C, num = self._statistics(x_UC.detach(), counts_U)
        self._follow(mean_C, var_C, num)
        inverse_std_C = torch.rsqrt(var_C + self.eps)
        share_U = torch.full((len(x_UC),), 1 / num, dtype=x_UC.dtype, device=x_UC.device)
        if counts_U is not None:
            share_U = counts_U.to(x_UC.dtype) / num
        out_UC = _Normalised.apply(
            x_UC, self.weight, self.bias, mean_C, inverse_std_C, share_U, self._meetings, self._place
        )
        return Folded(out_UC, rows.index) if is_folded else out_UC

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, over all ranks"

    def _statistics(self, x_UC: Tensor, counts_U: Tensor | None) -> tuple[Tensor, Tensor, float]:
        """Mean and variance [C] over all ranks, and N."""
        rest = tuple(axis for axis in range(x_UC.dim()) if axis != 1)
        positions = x_UC.shape[2:].numel()
        weight = 1 if counts_U is None else counts_U.to(x_UC.dtype).view(-1, *(1,) * (x_UC.dim() - 1))
        num = float(positions * (len(x_UC) if counts_U is None else int(counts_U.sum())))
        mean_C = (x_UC * weight).sum(rest) / max(num, 1.0)
        squares_C = ((x_UC - _columns(mean_C, x_UC)).square() * weight).sum(rest)
        own = torch.cat([mean_C.new_tensor([num]), mean_C, squares_C])
        nums_R1, means_RC, squares_RC = self._meetings.meet(2 * self._place, own).split(
            [1, self.num_features, self.num_features], dim=1
        )
        total = float(nums_R1.sum())
        if total <= 1:
            raise InputError("batch norm needs more than one value a channel to train on", got=int(total))
        mean = (means_RC * nums_R1).sum(0) / total
        var = (squares_RC + nums_R1 * (means_RC - mean).square()).sum(0) / total
        return mean.to(x_UC), var.to(x_UC), total

    def _follow(self, mean_C: Tensor, var_C: Tensor, num: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            self.num_batches_tracked += 1
            step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean_C.to(self.running_mean), step)
            self.running_var.lerp_((var_C * (num / (num - 1))).to(self.running_var), step)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_UC: Tensor,
        weight_C: Tensor | None,
        bias_C: Tensor | None,
        mean_C: Tensor,
        inverse_std_C: Tensor,
        share_U: Tensor,
        meetings: Meetings,
        place: float,
    ) -> Tensor:
        normal_UC = (x_UC - _columns(mean_C, x_UC)) * _columns(inverse_std_C, x_UC)
        ctx.save_for_backward(normal_UC, weight_C, inverse_std_C, share_U)
        ctx.meetings, ctx.place = meetings, place
        out_UC = normal_UC if weight_C is None else normal_UC * _columns(weight_C, x_UC)
        return out_UC.clone() if bias_C is None else out_UC + _columns(bias_C, x_UC)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        normal_UC, weight_C, inverse_std_C, share_U = ctx.saved_tensors
        (grad_UC,) = grads
        rest = tuple(axis for axis in range(grad_UC.dim()) if axis != 1)
        bias_grad_C, weight_grad_C = grad_UC.sum(rest), (grad_UC * normal_UC).sum(rest)
        every = ctx.meetings.meet(2 * ctx.place + 1, torch.cat([bias_grad_C, weight_grad_C])).sum(0)
        of_bias_C, of_weight_C = (_columns(part.to(grad_UC), grad_UC) for part in every.chunk(2))
        share = share_U.view(-1, *(1,) * (grad_UC.dim() - 1))
        inner_UC = grad_UC - share * (of_bias_C + normal_UC * of_weight_C)
        scale_C = inverse_std_C if weight_C is None else inverse_std_C * weight_C
        needs_weight, needs_bias = ctx.needs_input_grad[1:3]
        return (
            inner_UC * _columns(scale_C, grad_UC),
            weight_grad_C if needs_weight else None,
            bias_grad_C if needs_bias else None,
            *(None,) * 5,
        )


def synchronise(model: nn.Module, ranks: Ranks) -> Meetings | None:
    """Put batch norm over all ranks in the place of every batch norm of a model.

    Returns:
        Where ranks meet; None where the model has no batch norm.
    Raises:
        InputError: batch norm whose width is not known yet.
    """
    kind = nn.modules.batchnorm._BatchNorm
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]
    if not found:
        return None
    for name, module in found:
        if module.num_features == 0:
            raise InputError(f"the width of batch norm {name!r} is not known", todo="give it num_features")
    meetings = Meetings(ranks, 1 + 2 * max(module.num_features for _, module in found))
    made = {module: RanksBatchNorm(module, place, meetings) for place, (_, module) in enumerate(found)}
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kind):
                setattr(parent, name, made[child])
    return meetings


def _columns(of_C: Tensor, like: Tensor) -> Tensor:
    return of_C.view(1, -1, *(1,) * (like.dim() - 2))


def _said(head: tuple[float, ...]) -> str:
    purpose, calls = head
    if purpose == _END:
        return f"is done after {int(calls)}"
    direction = "backward" if purpose % 2 else "forward"
    return f"is in the {direction} of batch norm {int(purpose // 2)} after {int(calls)}"
