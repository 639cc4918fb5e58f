"""The dot interaction equals its slow twin."""

import pytest
import torch

from recfold.model.interaction import dot_interaction, dot_interaction_reference


@pytest.mark.parametrize("num_vectors", [1, 2, 5])
@pytest.mark.parametrize("num_samples", [0, 1, 4])
def test_pairs_equal_the_slow_twin(num_vectors: int, num_samples: int) -> None:
    vectors = torch.randn(num_samples, num_vectors, 3, dtype=torch.float64)
    torch.testing.assert_close(dot_interaction(vectors), dot_interaction_reference(vectors))
