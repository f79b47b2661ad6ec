import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models.layers import ReplicaLinear
from fashionreg.models.networks import MLP
from fashionreg.randomness import Key, generator, replica_keys
from fashionreg.regularizers import BatchNorm, Dropout, Regularizer

S, B, C = 3, 7, 5


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def linear(outputs=4):
    return ReplicaLinear(C, outputs, [generator(seed, "init") for seed in range(S)]).double()


def same_gradients(layer, plain, index):
    for name, parameter in plain.named_parameters():
        own = getattr(layer, name).grad[index]
        torch.testing.assert_close(own.T if name == "weight" and own.dim() == 2 else own, parameter.grad)


def test_linear_computes_what_torch_computes_for_each_replica():
    layer, x = linear(), inputs(S, B, C)
    y = layer(x)
    y.square().sum().backward()
    for k in range(S):
        plain = layer.replica(k).double()
        expected = plain(x[k])
        torch.testing.assert_close(y[k], expected)
        expected.square().sum().backward()
        same_gradients(layer, plain, k)


def test_linear_shows_a_shared_batch_to_every_replica():
    layer, x = linear(), inputs(B, C)
    torch.testing.assert_close(layer(x), layer(x.expand(S, B, C).clone()))


def test_linear_starts_from_the_distribution_of_torch():
    ours = ReplicaLinear(784, 300, [generator(0, "init")])
    torch.manual_seed(0)
    plain = nn.Linear(784, 300)
    for name in ("weight", "bias"):
        a, b = getattr(ours, name).detach(), getattr(plain, name).detach()
        assert a.abs().max() <= 1 / 28
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.1)
        assert abs(a.mean().item()) < 5 * b.std().item() / a.numel() ** 0.5


def network(seeds=(0, 1, 2), dropout=0.3):
    return MLP([C, 6, 5, 4], seeds, {"batch_norm": BatchNorm(), "dropout": Dropout(dropout)})


def keys(network, seeds=(0, 1, 2), step=0):
    return {name: Key(replica_keys(list(seeds), name) + step) for name in network.draws}


def test_a_replica_starts_the_same_whichever_seeds_run_beside_it():
    together, alone = network([3, 8, 5]), network([8])
    for name, value in alone.state_dict().items():
        assert torch.equal(value[0], together.state_dict()[name][1]), name


def test_a_network_in_evaluation_computes_what_its_replicas_compute_alone():
    net = network()
    x = inputs(S, B, C).float()
    net(x, keys(net))  # moves the running statistics away from 0 and 1
    net.eval()
    for k in range(S):
        torch.testing.assert_close(net(x)[k], net.replica(k)(x[k]))


def test_the_order_of_layers_is_linear_batch_norm_relu_dropout():
    names = [type(layer).__name__ for layer in network().replica(0)]
    hidden = ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert names == [*hidden, *hidden, "Linear"]
    assert network().describe() == "5-6-5-4"


def test_dropout_in_training_needs_keys():
    with pytest.raises(ValueError, match="dropout in training needs a key"):
        network()(inputs(S, B, C).float())


def test_dropout_masks_differ_between_layers_and_steps():
    net = network()
    x = inputs(S, B, C).float()
    first, again, other = (net(x, keys(net, step=step)) for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert net.draws == ["dropout/1", "dropout/2"]
    a, b = (
        net.layers[position](torch.ones(S, B, 5), key) for position, key in zip((3, 7), keys(net).values(), strict=True)
    )
    assert not torch.equal(a, b)


def test_layers_shown_by_the_same_name_draw_from_different_keys():
    regularizers = {"dropout": Dropout(0.5), "dropout1": Dropout(0.5)}
    net = MLP([5] * 13, [0], regularizers)
    assert net.layer_names.count("dropout11") == 2
    assert len(set(net.draws)) == len(net.draws) == 22


def test_hidden_weights_are_those_before_each_relu_whatever_regularizers_are_called():
    net = MLP([5, 6, 7, 4], [0], {"relu_noise": Dropout(0.5)})
    assert {name: tuple(x.shape) for name, x in net.hidden_weights().items()} == {
        "relu1": (1, 5, 6),
        "relu2": (1, 6, 7),
    }


@pytest.mark.parametrize("sizes", [[5, 0, 4], [5, 3.5, 4]])
def test_a_network_that_cannot_be_is_refused(sizes):
    with pytest.raises(ValueError, match="hidden_sizes: each width must be a whole number from 1 to"):
        MLP(sizes, [0])


def test_a_layer_that_is_not_one_of_replicas_is_refused():
    class Plain(Regularizer):
        def before_activation(self, features, seeds):
            return nn.GELU()

    with pytest.raises(UserError, match="regularizers.mine: a layer must be a ReplicaLayer .*got GELU"):
        MLP([5, 3, 4], [0], {"mine": Plain()})
