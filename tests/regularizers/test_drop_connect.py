import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.randomness import Key, replica_keys
from fashionreg.regularizers import DropConnect


def parameters(seeds):
    return dict(MLP([200, 100, 3], seeds).named_parameters())


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_a_share_p_of_the_weights_of_each_replica_is_dropped_and_the_rest_is_scaled(p):
    own = parameters([0, 1])
    used = DropConnect(p).weights(own, Key(replica_keys([0, 1], "drop/weights")))
    count = 200 * 100
    dropped = used["layers.0.weight"] == 0
    # five standard errors of a share of independent weights
    assert (dropped.double().mean(dim=(1, 2)) - p).abs().max() < 5 * (p * (1 - p) / count) ** 0.5
    torch.testing.assert_close(used["layers.0.weight"], own["layers.0.weight"] * ~dropped / (1 - p))
    assert used["layers.0.bias"] is own["layers.0.bias"]
    assert not torch.equal(dropped[0], dropped[1])


def test_masks_of_a_seed_are_the_same_among_others_and_differ_between_layers_of_a_shape():
    keys = replica_keys([3, 7], "drop/weights")
    ones = {name: torch.ones(2, 6, 6) for name in ("first", "second")}
    together = DropConnect(0.5).weights(ones, Key(keys))
    alone = DropConnect(0.5).weights({name: x[1:] for name, x in ones.items()}, Key(keys[1:]))
    for name in ones:
        assert torch.equal(together[name][1:], alone[name])
    assert not torch.equal(together["first"], together["second"])


def test_nothing_is_dropped_in_evaluation_or_with_p_0():
    own = parameters([0])
    assert DropConnect(0.5).weights(own, None) is own
    assert DropConnect(0.0).weights(own, Key(replica_keys([0], "drop/weights"))) is own


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_probability_out_of_range_is_refused(p):
    with pytest.raises(UserError, match=f"drop_connect: p: must be at least 0 and below 1, got {p}"):
        DropConnect(p)
