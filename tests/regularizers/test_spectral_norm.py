import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.models.objective import used_weights
from fashionreg.regularizers import SpectralNorm


def test_the_largest_singular_value_is_1_at_the_start_and_after_enough_iterations():
    network, ours = MLP([9, 6, 3], [0, 1]).double(), SpectralNorm(iterations=500)
    ours.attach(network, [0, 1])
    for _ in range(2):
        with used_weights(network, {"norm": ours}), torch.no_grad():
            for weights in (network.layers[0].weight, network.layers[2].weight):
                torch.testing.assert_close(torch.linalg.matrix_norm(weights, 2), torch.ones(2, dtype=torch.float64))
        with torch.no_grad():
            for x in network.parameters():
                x.add_(torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype))
            ours.after_step(network)


def test_a_number_of_iterations_out_of_range_is_refused():
    with pytest.raises(UserError, match="spectral_norm: iterations: must be at least 1, got 0"):
        SpectralNorm(0)
