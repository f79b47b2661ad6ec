import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import GhostBatchNorm

S, C = 3, 5


@pytest.mark.parametrize(("images", "parts"), [(12, [4, 4, 4]), (11, [6, 5]), (3, [3])])
def test_each_part_of_a_batch_goes_through_torchs_batch_norm(images, parts):
    layer = GhostBatchNorm(4, eps=0.01, momentum=0.3).before_activation(C, range(S)).double()
    x = torch.randn(S, images, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = layer(x)
    for k in range(S):
        plain = nn.BatchNorm1d(C, 0.01, 0.3).double()
        torch.testing.assert_close(y[k], torch.cat([plain(part) for part in x[k].split(parts)]))
        torch.testing.assert_close(layer.running_mean[k], plain.running_mean)
        torch.testing.assert_close(layer.running_var[k], plain.running_var)
        torch.testing.assert_close(layer.eval()(x)[k], plain.eval()(x[k]))
        torch.testing.assert_close(layer.replica(k).eval()(x[k]), plain(x[k]))
        layer.train()


def test_it_stands_before_or_after_the_activation():
    names = MLP([5, 4, 3], [0], {"norm": GhostBatchNorm(place="after_activation")}).layer_names
    assert names[:3] == ["linear1", "relu1", "norm1"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"size": 1}, "size: must be at least 2, got 1"),
        ({"eps": 0.0}, "eps: must be above 0"),
        ({"momentum": 2}, "momentum: must be from 0 to 1"),
        ({"place": "here"}, "place: must be before_activation or after_activation"),
    ],
)
def test_options_out_of_range_are_refused(options, fault):
    with pytest.raises(UserError, match=f"ghost_batch_norm: {fault}"):
        GhostBatchNorm(**options)
