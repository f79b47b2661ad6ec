"""SWA against torch.optim.swa_utils, Lookahead against the loop of its paper."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import SWA, BatchNorm, Lookahead


def moving(steps):
    """Yield a network with batch norm after each of some random steps, its running statistics changed too."""
    net, generator = MLP([5, 4, 3], [0, 1], {"batch_norm": BatchNorm()}).double(), torch.Generator().manual_seed(0)
    yield net
    for _ in range(steps):
        with torch.no_grad():
            for x in net.state_dict().values():
                x.add_(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        yield net


def copied(net):
    return {name: x.clone() for name, x in net.state_dict().items()}


def assert_shows(regularizer, net, expected):
    own = copied(net)
    with regularizer.evaluating(net):
        torch.testing.assert_close(dict(net.state_dict()), expected)
    torch.testing.assert_close(dict(net.state_dict()), own, rtol=0, atol=0)


def test_swa_evaluates_the_mean_of_torchs_swa_utils_of_weights_and_statistics():
    nets = moving(6)
    net, average = next(nets), SWA(start=2)
    average.attach(net, [0, 1])
    # torch counts updates in a buffer of its own, and averages buffers too if asked
    reference = AveragedModel(net, use_buffers=True)
    for epoch, _ in enumerate(nets):
        average.after_step(net)
        if epoch >= 2:
            reference.update_parameters(net)
        expected = copied(reference.module if epoch >= 2 else net)
        # the epoch's own evaluation, and one of its checkpoint
        assert_shows(average, net, expected)
        with torch.no_grad():
            average.after_epoch(net, {})
        assert_shows(average, net, expected)


def test_lookahead_makes_the_loop_of_its_paper():
    net = MLP([5, 4, 3], [0, 1], {"batch_norm": BatchNorm()}).double()
    ours, generator = Lookahead(steps=3, rate=0.25), torch.Generator().manual_seed(0)
    ours.attach(net, [0, 1])
    slow = copied(net)
    fast = copied(net)
    parameters = {name for name, _ in net.named_parameters()}
    for step in range(1, 8):
        with torch.no_grad():
            for name, x in net.state_dict().items():
                move = torch.randn(x.shape, generator=generator, dtype=x.dtype)
                x.add_(move)
                fast[name] = fast[name] + move
            ours.after_step(net)
        if step % 3 == 0:
            for name in slow:
                slow[name] = slow[name] + 0.25 * (fast[name] - slow[name])
                if name in parameters:
                    fast[name] = slow[name]
        torch.testing.assert_close(dict(net.state_dict()), fast)
        assert_shows(ours, net, slow)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: SWA(-1), "swa: start: must not be negative, got -1"),
        (lambda: Lookahead(steps=0), "lookahead: steps: must be at least 1, got 0"),
        (lambda: Lookahead(rate=0.0), "lookahead: rate: must be above 0 and at most 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(make, fault):
    with pytest.raises(UserError, match=fault):
        make()
