"""Residual connections against a plain torch loop, stochastic depth against what its paper says of its draws."""

import pytest
import torch
import torch.nn.functional as F

from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP
from fashionreg.models.networks import MLP
from fashionreg.randomness import Key
from fashionreg.regularizers import BatchNorm, Dropout, StochasticDepth
from fashionreg.runs.export import fold_batch_norm

SIZES, SEEDS, B = [6, 4, 4, 4, 5, 3], [0, 1], 7


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_a_layer_as_wide_as_its_input_adds_it_and_others_do_not():
    network = MLP(SIZES, SEEDS, residual=True).double()
    x = images(len(SEEDS), B, SIZES[0])
    logits = network(x)
    probed = network.pre_activations(x)
    linear = [layer for name, layer in zip(network.layer_names, network.layers, strict=True) if "linear" in name]
    for k in range(len(SEEDS)):
        y = x[k]
        for number, layer in enumerate(linear[:-1], start=1):
            before = y @ layer.weight[k] + layer.bias[k]
            torch.testing.assert_close(probed[f"relu{number}"][k], before)
            y = F.relu(before) + (y if number in (2, 3) else 0)
        torch.testing.assert_close(logits[k], y @ linear[-1].weight[k] + linear[-1].bias[k])
    assert network.describe() == "6-4-4-4-5-3 with 2 residual connections"


def test_without_equal_widths_nothing_is_added_and_the_option_is_refused():
    plain, residual = MLP([6, 5, 4, 3], SEEDS), MLP([6, 5, 4, 3], SEEDS, residual=True)
    x = torch.rand(2, B, 6)
    assert torch.equal(plain(x), residual(x))
    with pytest.raises(UserError, match=r"residual: needs a hidden layer as wide as .*, got widths \[6, 5, 4\]"):
        RegularizedMLP([5, 4], residual=True).build(6, 3)


def test_a_plain_network_of_a_replica_computes_the_same_folded_or_not():
    layers = {"norm": BatchNorm(), "drop": Dropout(0.3), "depth": StochasticDepth(0.4)}
    network = MLP(SIZES, SEEDS, layers, residual=True).double()
    keys = {name: Key(torch.arange(4, dtype=torch.int32).view(2, 2)) for name in network.draws}
    network(images(2, B, SIZES[0]), keys)
    network.eval()
    x = images(B, SIZES[0])
    for k in range(len(SEEDS)):
        plain = network.replica(k)
        torch.testing.assert_close(plain(x), network(x)[k])
        folded = fold_batch_norm(plain)
        torch.testing.assert_close(folded(x), plain(x))
        assert not any(isinstance(layer, torch.nn.BatchNorm1d | torch.nn.Identity) for layer in folded.modules())


def test_a_branch_is_left_out_more_often_the_deeper_it_is_and_else_scaled():
    network = MLP(SIZES, SEEDS, {"depth": StochasticDepth(0.4)}, residual=True)
    ends = [layer for layer in network.layers if getattr(layer, "draws", False)]
    assert [end.p for end in ends] == [0.2, 0.4]
    count = 20_000
    branch = torch.ones(2, count, 4)
    for end in ends:
        y = end(branch, Key(torch.arange(4, dtype=torch.int32).view(2, 2)))
        # all of an image's branch divided by 1 - p, or nothing
        values = y.unique()
        torch.testing.assert_close(values, torch.tensor([0.0, 1 / (1 - end.p)]))
        assert torch.equal(y, y[..., :1].expand_as(y))
        share = (y[..., 0] == 0).double().mean(dim=1)
        # five standard deviations of a share of independent draws
        assert (share - end.p).abs().max() < 5 * (end.p * (1 - end.p) / count) ** 0.5
        assert not torch.equal(y[0], y[1])
        assert torch.equal(end.eval()(branch), branch)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_probabilities_out_of_range_are_refused(p):
    with pytest.raises(UserError, match="stochastic_depth: p: must be at least 0 and below 1"):
        StochasticDepth(p)


def test_a_network_without_branches_is_refused():
    with pytest.raises(UserError, match="needs residual connections: set residual: true of RegularizedMLP"):
        RegularizedMLP([8, 8], regularizers={"depth": StochasticDepth()}).build(784, 10)
