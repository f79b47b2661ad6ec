import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.randomness import Key, replica_keys
from fashionreg.regularizers.dropout import Dropout, ReplicaDropout, dropout


def test_dropout_drops_by_its_mask_and_keeps_the_expected_value():
    keep = torch.tensor([[True, False], [True, True]])
    torch.testing.assert_close(dropout(torch.ones(2, 2), keep, 0.3), torch.tensor([[1 / 0.7, 0], [1 / 0.7, 1 / 0.7]]))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_of_the_units_of_every_replica_is_dropped_and_the_mean_stays(p):
    layer, count = ReplicaDropout(p), 40_000
    dropped = layer(torch.ones(4, count // 8, 8), Key(replica_keys([0, 1, 2, 3], "dropout1")))
    # five standard errors of a share of independent units
    error = 5 * (p * (1 - p) / count) ** 0.5
    assert ((dropped == 0).double().mean(dim=(1, 2)) - p).abs().max() < error
    assert (dropped.double().mean(dim=(1, 2)) - 1).abs().max() < error / (1 - p)


def test_dropout_does_nothing_in_evaluation_or_with_p_0():
    x = torch.rand(2, 3, 4)
    assert ReplicaDropout(0.5).eval()(x) is x
    assert ReplicaDropout(0.0)(x) is x


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_probability_out_of_range_is_refused(p):
    with pytest.raises(UserError, match=f"dropout: must be at least 0 and below 1, got {p}"):
        Dropout(p)
