"""WeightNorm and SpectralNorm against torch's parametrizations, trained for some steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fashionreg.models.networks import MLP
from fashionreg.models.objective import Objective, cross_entropy, used_weights
from fashionreg.models.stacked import StackedNetwork
from fashionreg.regularizers import SpectralNorm, WeightNorm

S, B = 2, 6


class Plain(nn.Sequential):
    """A user's network, whose weights torch keeps as (out, in)."""

    def __init__(self, inputs, classes):
        super().__init__(nn.Linear(inputs, 4), nn.ReLU(), nn.Linear(4, classes))


def parametrized(plain, kind, ours, k):
    """Return a plain network with torch's own parametrization of all linear layers, which starts as ours does."""
    for name, layer in [(name, layer) for name, layer in plain.named_modules() if isinstance(layer, nn.Linear)]:
        if kind is WeightNorm:
            nn.utils.parametrizations.weight_norm(layer)
        else:
            nn.utils.parametrizations.spectral_norm(layer)
            own = layer.parametrizations.weight[0]
            # (in, out) here, (out, in) there
            own._u.copy_(getattr(ours, f"layers/{name}/weight/right")[k])
            own._v.copy_(getattr(ours, f"layers/{name}/weight/left")[k])
    return plain


@pytest.mark.parametrize("kind", [WeightNorm, SpectralNorm])
def test_each_replica_trains_and_evaluates_as_with_torchs_parametrization(kind):
    network, ours = MLP([5, 4, 3], range(S)).double(), kind()
    plain = [network.replica(k) for k in range(S)]
    ours.attach(network, range(S))
    plain = [parametrized(one, kind, ours, k) for k, one in enumerate(plain)]
    objective = Objective(network, {"norm": ours}, cross_entropy)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    others = [torch.optim.SGD(one.parameters(), lr=0.5, momentum=0.9) for one in plain]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        images = torch.randn(S, B, 5, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (S, B), generator=generator)
        losses = objective(images, labels, {})
        optimizer.zero_grad()
        losses.total.sum().backward()
        optimizer.step()
        with torch.no_grad():
            ours.after_step(network)
        for k, (one, other) in enumerate(zip(plain, others, strict=True)):
            loss = F.cross_entropy(one(images[k]), labels[k])
            torch.testing.assert_close(losses.losses[k], loss)
            other.zero_grad()
            loss.backward()
            other.step()
    if kind is SpectralNorm:
        # torch's vectors follow at the next forward pass in training
        for k, one in enumerate(plain):
            one(images[k])
    before = {name: x.clone() for name, x in network.state_dict().items()}
    with used_weights(network, objective.weight_hooks), torch.no_grad():
        for k, one in enumerate(plain):
            torch.testing.assert_close(network.eval()(images)[k], one.eval()(images[k]))
            torch.testing.assert_close(network.replica(k)(images[k]), one(images[k]))
    for name, x in network.state_dict().items():
        assert torch.equal(x, before[name]), name


def test_a_networks_function_is_the_same_before_training_with_weight_norm():
    network, ours = MLP([5, 4, 3], range(S)).double(), WeightNorm()
    images = torch.randn(S, B, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = network(images)
    ours.attach(network, range(S))
    with used_weights(network, {"norm": ours}):
        torch.testing.assert_close(network(images), before)


def test_units_of_a_users_network_are_the_rows_of_its_matrices():
    network, ours = StackedNetwork(Plain, 5, 3, range(S)), WeightNorm()
    ours.attach(network, range(S))
    lengths = {name: x for name, x in network.named_parameters() if name.endswith("_length")}
    assert {name: tuple(x.shape) for name, x in lengths.items()} == {
        "stacked.0.weight_length": (S, 4),
        "stacked.2.weight_length": (S, 3),
    }
    images = torch.randn(S, B, 5, generator=torch.Generator().manual_seed(0))
    plain = network.replica(1)
    with torch.no_grad():
        for x in lengths.values():
            x.mul_(2)
        for layer in (plain[0], plain[2]):
            layer.weight.mul_(2)
        with used_weights(network, {"norm": ours}):
            torch.testing.assert_close(network(images)[1], plain(images[1]))
