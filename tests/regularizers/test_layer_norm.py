import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import LayerNorm
from fashionreg.regularizers.layer_norm import ReplicaLayerNorm

S, B, C = 3, 7, 5


def test_layer_norm_computes_what_torch_computes_for_each_replica():
    generator = torch.Generator().manual_seed(0)
    layer = ReplicaLayerNorm(S, C, eps=0.01).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.randn(S, B, C, generator=generator, dtype=torch.float64)
    for k in range(S):
        plain = nn.LayerNorm(C, 0.01).double()
        plain.load_state_dict({"weight": layer.weight[k].detach(), "bias": layer.bias[k].detach()})
        torch.testing.assert_close(layer(x)[k], plain(x[k]))
        torch.testing.assert_close(layer.replica(k)(x[k]), plain(x[k]))


@pytest.mark.parametrize(
    ("place", "names"),
    [("before_activation", ["linear1", "norm1", "relu1"]), ("after_activation", ["linear1", "relu1", "norm1"])],
)
def test_it_stands_before_or_after_the_activation(place, names):
    assert MLP([5, 4, 3], [0, 1], {"norm": LayerNorm(place=place)}).layer_names[:3] == names


@pytest.mark.parametrize(("options", "fault"), [({"eps": 0.0}, "eps: must be above 0"), ({"place": "here"}, "place:")])
def test_options_out_of_range_are_refused(options, fault):
    with pytest.raises(UserError, match=f"layer_norm: {fault}"):
        LayerNorm(**options)
