"""One of two processes that train a model whose output is folded, joined or products; prints its gradients.

python distributed.py meeting_file rank
"""

import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from recfold.batch import Folded, FoldIndex

INVERSE = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 2, 0])
SAMPLES, ROWS, WIDTH = len(INVERSE), 4, 8


class Several(nn.Module):
    def __init__(self, kind: str, unused: bool) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.unused = nn.Linear(2, 2) if unused else None

    def forward(self, user: Any, item: Any) -> Any:
        out = self.last(torch.relu(self.first(user)))
        if self.kind == "folded":
            return out
        if self.kind == "joined":
            return {"out": torch.cat([out, item], 1)}
        stack = torch.stack([out, item], 1)
        return [stack @ stack.mT]


def gradients(kind: str, unused: bool, fold: bool, rank: int) -> list[Any]:
    torch.manual_seed(0)
    model = Several(kind, unused)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=unused)
    torch.manual_seed(1 + rank)
    for _ in range(2):
        values, item = torch.randn(ROWS, WIDTH), torch.randn(SAMPLES, 3)
        out = parallel(Folded(values, FoldIndex(INVERSE, ROWS)) if fold else values[INVERSE], item)
        out = out["out"] if kind == "joined" else out[0] if kind == "products" else out
        out.square().sum().backward()
    return [parameter.grad for parameter in (*model.first.parameters(), *model.last.parameters())]


def main(meeting: str, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = []
    for unused in (False, True):
        for kind in ("folded", "joined", "products"):
            runs = [gradients(kind, unused, fold, rank) for fold in (True, False)]
            near = all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*runs, strict=True))
            found.append({"unused": unused, "kind": kind, "near": near, "total": float(runs[0][0].sum())})
    print(json.dumps(found), flush=True)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # the reducers' threads may outlive the group, and then end the process with an abort


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
