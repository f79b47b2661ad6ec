import copy

import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import GradientClipping

S = 3


def clipped(kind, limit, size):
    """Return plain networks of random gradients, before and after clipping."""
    network, generator = MLP([5, 4, 3], range(S)).double(), torch.Generator().manual_seed(0)
    found = {
        name: torch.randn(x.shape, generator=generator, dtype=x.dtype) * size for name, x in network.named_parameters()
    }
    plain = [network.replica(k) for k in range(S)]
    fill(plain, found)
    clipping = GradientClipping(limit, kind)
    clipping.attach(network, range(S))
    ours = copy.deepcopy(plain)
    fill(ours, clipping.gradients(lambda at: found, dict(network.named_parameters()), None))
    return plain, ours


def fill(plain, gradients):
    for k, one in enumerate(plain):
        for (_, parameter), x in zip(one.named_parameters(), gradients.values(), strict=True):
            parameter.grad = x[k].t().clone()


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_the_norm_of_each_network_is_limited_as_torch_does(size):
    for plain, ours in zip(*clipped("norm", 0.5, size), strict=True):
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        for expected, x in zip(plain.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(x.grad, expected.grad)


def test_each_value_is_limited_as_torch_does():
    for plain, ours in zip(*clipped("value", 0.5, 1.0), strict=True):
        nn.utils.clip_grad_value_(plain.parameters(), 0.5)
        for expected, x in zip(plain.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(x.grad, expected.grad)


@pytest.mark.parametrize("size", [0.01, 1.0])
def test_the_gradient_of_each_unit_is_limited_by_the_norm_of_its_weights(size):
    for plain, ours in zip(*clipped("adaptive", 0.1, size), strict=True):
        for expected, x in zip(plain.parameters(), ours.parameters(), strict=True):
            # unit by unit as Brock et al. write it: rows of a matrix, and a vector as a whole
            rows = [(expected, expected.grad, x.grad)]
            if expected.dim() == 2:
                rows = zip(expected, expected.grad, x.grad, strict=True)
            for weights, gradient, found in rows:
                ratio, norm = 0.1 * max(weights.norm().item(), 1e-3), gradient.norm().item()
                # the limit is a float32 number
                torch.testing.assert_close(found, gradient * min(1.0, ratio / norm), rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("options", "fault"), [({"limit": 0}, "limit: must be above 0"), ({"kind": "x"}, "kind: must")]
)
def test_options_out_of_range_are_refused(options, fault):
    with pytest.raises(UserError, match=f"gradient_clipping: {fault}"):
        GradientClipping(**options)
