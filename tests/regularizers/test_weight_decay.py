import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import BatchNorm, Regularizer, WeightDecay


def network():
    return MLP([5, 4, 3], [0, 1], {"batch_norm": BatchNorm()})


def test_the_penalty_is_half_the_strength_times_the_squared_norm_of_each_replica():
    net = network()
    penalty = WeightDecay(0.1).penalty(net)
    for k in range(2):
        vector = torch.nn.utils.parameters_to_vector(net.replica(k).parameters()).double()
        assert penalty[k].item() == pytest.approx(0.05 * (vector @ vector).item(), rel=1e-5)


def test_its_step_is_that_of_torchs_optimizer_with_weight_decay():
    ours, torchs = network(), network()
    step = torch.optim.SGD(ours.parameters(), lr=0.5)
    WeightDecay(0.1).penalty(ours).sum().backward()
    step.step()
    plain = torch.optim.SGD(torchs.parameters(), lr=0.5, weight_decay=0.1)
    for parameter in torchs.parameters():
        parameter.grad = torch.zeros_like(parameter)
    plain.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, torchs.state_dict()[name])


def test_biases_and_norm_parameters_can_be_left_out():
    net = network()
    WeightDecay(0.1, biases=False).penalty(net).sum().backward()
    touched = {name for name, parameter in net.readable_parameters().items() if parameter.grad is not None}
    assert touched == {"linear1.weight", "linear2.weight"}


def test_without_matrices_there_is_nothing_to_penalize_but_biases():
    scales = torch.nn.ParameterList([torch.ones(2, 5)])
    assert torch.equal(WeightDecay(0.1, biases=False).penalty(scales), torch.zeros(2))
    assert torch.equal(WeightDecay(0.1).penalty(scales), torch.full((2,), 0.25))


def test_a_regularizer_without_a_penalty_has_one_of_zero():
    assert torch.equal(Regularizer().penalty(network()), torch.zeros(2))


def test_a_negative_strength_is_refused():
    with pytest.raises(UserError, match="strength: must not be negative, got -1"):
        WeightDecay(-1)
