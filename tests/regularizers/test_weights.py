"""Penalties and limits of weights against torch and NumPy, replica by replica."""

import numpy as np
import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.models.stacked import StackedNetwork
from fashionreg.regularizers import (
    L1,
    BatchNorm,
    DecoupledWeightDecay,
    MaxNorm,
    OrthogonalPenalty,
    WeightClipping,
)

MATRICES = ["layers.0.weight", "layers.3.weight"]


def network():
    """Two replicas whose numbers are all random, batch norm's too."""
    net = MLP([5, 4, 3], [0, 1], {"batch_norm": BatchNorm()}).double()
    generator = torch.Generator().manual_seed(0)
    for x in net.parameters():
        nn.init.normal_(x, generator=generator)
    return net


def arrays(net, k):
    return {name: x[k].detach().numpy().copy() for name, x in net.named_parameters()}


@pytest.mark.parametrize("biases", [True, False])
def test_l1_is_the_sum_of_absolute_values(biases):
    net = network()
    penalty = L1(0.1, biases).penalty(net)
    for k in range(2):
        expected = sum(np.abs(x).sum() for name, x in arrays(net, k).items() if biases or name in MATRICES)
        # the strength is a float32 number
        assert penalty[k].item() == pytest.approx(0.1 * expected, rel=1e-7)


def test_the_orthogonal_penalty_is_that_of_the_smaller_gram_matrix():
    net = MLP([5, 4, 9, 3], [0, 1]).double()
    penalty = OrthogonalPenalty(0.1).penalty(net)
    for k in range(2):
        expected = 0.0
        for x in arrays(net, k).values():
            if x.ndim == 2:
                # by singular values: those of a matrix, squared, are the eigenvalues of its smaller Gram matrix
                expected += ((np.linalg.svd(x, compute_uv=False) ** 2 - 1) ** 2).sum()
        assert penalty[k].item() == pytest.approx(0.1 * expected, rel=1e-7)


@pytest.mark.parametrize("biases", [True, False])
def test_decoupled_decay_takes_off_a_share(biases):
    net = network()
    before = [arrays(net, k) for k in range(2)]
    with torch.no_grad():
        DecoupledWeightDecay(0.01, biases).after_step(net)
    for k in range(2):
        for name, x in arrays(net, k).items():
            np.testing.assert_allclose(x, before[k][name] * (0.99 if biases or name in MATRICES else 1), rtol=1e-15)


def test_its_step_is_that_of_torchs_adamw_with_the_rate_in_the_strength():
    ours, torchs = network(), network()
    step, other = (
        torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=decay) for net, decay in ((ours, 0.0), (torchs, 0.5))
    )
    decay = DecoupledWeightDecay(0.01 * 0.5, biases=True)
    # torch decays before it steps: without a gradient, the order is no matter
    for net, optimizer in ((ours, step), (torchs, other)):
        for x in net.parameters():
            x.grad = torch.zeros_like(x)
        optimizer.step()
    with torch.no_grad():
        decay.after_step(ours)
    for name, x in ours.named_parameters():
        torch.testing.assert_close(x, torchs.get_parameter(name))


def test_max_norm_renormalizes_the_incoming_weights_of_each_unit_as_torch_does():
    net = network()
    plain = [net.replica(k) for k in range(2)]
    limit, biases = MaxNorm(1.5), net.layers[0].bias.clone()
    limit.attach(net, [0, 1])
    with torch.no_grad():
        limit.after_step(net)
    assert torch.equal(net.layers[0].bias, biases)
    for k, one in enumerate(plain):
        for index in (0, 3):
            # torch keeps (out, in): the rows are units
            torch.testing.assert_close(net.replica(k)[index].weight, torch.renorm(one[index].weight, 2, 0, 1.5))


def test_max_norm_finds_the_units_of_a_users_network():
    net = StackedNetwork(nn.Linear, 7, 3, [0, 1])
    before, limit = [net.replica(k).weight.clone() for k in range(2)], MaxNorm(0.3)
    limit.attach(net, [0, 1])
    with torch.no_grad():
        limit.after_step(net)
    for k in range(2):
        torch.testing.assert_close(net.replica(k).weight, torch.renorm(before[k], 2, 0, 0.3))


def test_weight_clipping_limits_every_element():
    net = network()
    before = [arrays(net, k) for k in range(2)]
    with torch.no_grad():
        WeightClipping(0.5).after_step(net)
    for k in range(2):
        for name, x in arrays(net, k).items():
            np.testing.assert_array_equal(x, np.clip(before[k][name], -0.5, 0.5))


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: L1(-1), "l1: strength: must not be negative, got -1"),
        (lambda: OrthogonalPenalty(-1), "orthogonal_penalty: strength: must not be negative, got -1"),
        (lambda: DecoupledWeightDecay(2), "decoupled_weight_decay: strength: must be from 0 to 1, got 2"),
        (lambda: MaxNorm(0), "max_norm: limit: must be above 0, got 0"),
        (lambda: WeightClipping(0), "weight_clipping: limit: must be above 0, got 0"),
    ],
)
def test_strengths_and_limits_out_of_range_are_refused(make, fault):
    with pytest.raises(UserError, match=fault):
        make()
