"""DCN v2: layers that cross the input with itself, and an MLP beside or after them.

Formula: x_{l+1} = x_0 * (W_l x_l + b_l) + x_l (full rank), with W_l = U_l V_l^T for a low rank; x_0 = [v; x].
Parallel: y = W [cross(x_0); MLP(x_0)]; stacked: y = MLP(cross(x_0)).
Source: Wang et al. 2021, "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank
Systems".
"""

from typing import Any, Literal

from pydantic import Field
from torch import nn

from recfold.batch import ModelInputs
from recfold.batch.sample_linear import SampleLinear
from recfold.model.deep import Flat
from recfold.model.head import HeadSettings, build_head
from recfold.model.shape import InputShape


class DcnSettings(HeadSettings):
    """Options of DCN v2, besides those of every head.

    Args:
        cross: number of cross layers.
        rank: of their matrices; None for full rank.
        deep: hidden widths of the MLP.
        structure: `parallel`: the MLP, or its experts, beside the cross layers, and each label's tower over both;
            `stacked`: the MLP, or its experts, after the cross layers.
    """

    cross: int = Field(default=3, gt=0)
    rank: int | None = Field(default=None, gt=0)
    deep: tuple[int, ...] = (512, 256)
    structure: Literal["parallel", "stacked"] = "parallel"


class Cross(nn.Module):
    """One cross layer: x_0 * (W x + b) + x.

    Args:
        rank: of W; None for full rank.
    """

    def __init__(self, width: int, rank: int | None) -> None:
        super().__init__()
        self.down = None if rank is None else SampleLinear(width, rank, bias=False)
        self.up = SampleLinear(width if rank is None else rank, width)

    def forward(self, first_BW: Any, x_BW: Any) -> Any:
        """[B, W]."""
        return first_BW * self.up(x_BW if self.down is None else self.down(x_BW)) + x_BW


class Dcn(nn.Module):
    """DCN v2.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape, settings: DcnSettings) -> None:
        super().__init__()
        self.flat = Flat(shape)
        width = self.flat.width
        self.cross = nn.ModuleList(Cross(width, settings.rank) for _ in range(settings.cross))
        self.parallel = settings.structure == "parallel"
        beside = width if self.parallel else 0
        self.head = build_head(width, settings.deep, shape.num_labels, settings, beside=beside)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        first_BW = self.flat(inputs)
        x_BW = first_BW
        for layer in self.cross:
            x_BW = layer(first_BW, x_BW)
        return self.head(first_BW, x_BW) if self.parallel else self.head(x_BW)
