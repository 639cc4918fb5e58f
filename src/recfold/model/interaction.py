"""The dot interaction of DLRM: every pair of feature vectors as one number."""

import torch
from torch import Tensor


def dot_interaction(vectors_BFD: Tensor) -> Tensor:
    """Dot products of all pairs i > j of F vectors: [B, F (F - 1) / 2], row by row of the strict lower triangle.

    Source: Naumov et al. 2019, "Deep Learning Recommendation Model for Personalization and Recommendation Systems".

    >>> dot_interaction(torch.tensor([[[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]]])).tolist()
    [[2.0, 0.0, 3.0]]
    """
    num_vectors = vectors_BFD.shape[1]
    row, column = torch.tril_indices(num_vectors, num_vectors, offset=-1, device=vectors_BFD.device)
    products_BFF = torch.bmm(vectors_BFD, vectors_BFD.transpose(1, 2))
    return products_BFF.flatten(1).index_select(1, row * num_vectors + column)


def dot_interaction_reference(vectors_BFD: Tensor) -> Tensor:
    """The slow twin of `dot_interaction`."""
    num_vectors = vectors_BFD.shape[1]
    pairs = [(vectors_BFD[:, i] * vectors_BFD[:, j]).sum(1) for i in range(num_vectors) for j in range(i)]
    return torch.stack(pairs, dim=1) if pairs else vectors_BFD.new_zeros(len(vectors_BFD), 0)
