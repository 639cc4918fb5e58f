"""The order of pairs is the only thing in which TorchRec's interaction differs from ours."""

import torch

from recfold.bench.training.peer_network import _columns
from recfold.model.interaction import dot_interaction


def test_columns_put_our_pairs_into_the_order_of_the_upper_triangle() -> None:
    vectors_BFD = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    ours = torch.cat([vectors_BFD[:, 0], dot_interaction(vectors_BFD)], dim=1)
    products = vectors_BFD @ vectors_BFD.transpose(1, 2)
    high, low = torch.triu_indices(5, 5, offset=1)
    theirs = torch.cat([vectors_BFD[:, 0], products[:, high, low]], dim=1)
    torch.testing.assert_close(ours[:, _columns(4, range(4))], theirs)
