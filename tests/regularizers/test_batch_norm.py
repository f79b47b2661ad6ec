import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers.batch_norm import BatchNorm, ReplicaBatchNorm
from fashionreg.runs.export import fold_batch_norm

S, B, C = 3, 7, 5


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_computes_what_torch_computes_for_each_replica(training):
    layer = ReplicaBatchNorm(S, C).double().train(training)
    with torch.no_grad():
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(layer, name).copy_(inputs(S, C).abs() + 0.1)
    plain = [layer.replica(k).double().train(training) for k in range(S)]
    x = inputs(S, B, C).requires_grad_()
    y = layer(x)
    y.pow(3).sum().backward()
    for k in range(S):
        own = x.detach()[k].requires_grad_()
        expected = plain[k](own)
        torch.testing.assert_close(y[k], expected)
        expected.pow(3).sum().backward()
        for name, parameter in plain[k].named_parameters():
            torch.testing.assert_close(getattr(layer, name).grad[k], parameter.grad)
        torch.testing.assert_close(x.grad[k], own.grad)
        torch.testing.assert_close(layer.running_mean[k], plain[k].running_mean)
        torch.testing.assert_close(layer.running_var[k], plain[k].running_var)


def test_options_are_those_of_the_layers():
    layer = BatchNorm(eps=0.1, momentum=0.3).before_activation(C, [0, 1])
    assert (layer.replica(0).eps, layer.replica(1).momentum) == (0.1, 0.3)


@pytest.mark.parametrize(
    ("place", "names"),
    [("before_activation", ["linear1", "norm1", "relu1"]), ("after_activation", ["linear1", "relu1", "norm1"])],
)
def test_it_stands_before_or_after_the_activation(place, names):
    network = MLP([5, 4, 3], [0, 1], {"norm": BatchNorm(place=place)})
    assert network.layer_names[:3] == names


def test_after_the_activation_it_is_exported_unfolded_and_computes_the_same():
    network = MLP([5, 4, 3], [0, 1], {"norm": BatchNorm(place="after_activation")}).double()
    network(inputs(2, B, 5))
    plain = network.eval().replica(1)
    folded = fold_batch_norm(plain)
    assert [type(layer).__name__ for layer in folded] == ["Linear", "ReLU", "BatchNorm1d", "Linear"]
    x = inputs(B, 5)
    torch.testing.assert_close(folded(x), network(x)[1])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"eps": 0.0}, "eps: must be above 0"),
        ({"momentum": 2}, "momentum"),
        ({"place": "here"}, "batch_norm: place: must be before_activation or after_activation, got here"),
    ],
)
def test_options_out_of_range_are_refused(options, fault):
    with pytest.raises(UserError, match=fault):
        BatchNorm(**options)
