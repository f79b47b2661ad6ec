import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import EMA, BatchNorm, BestCheckpoint, EarlyStopping
from fashionreg.regularizers.base import with_hook

#: Validation losses of three replicas, epoch by epoch.
LOSSES = torch.tensor(
    [
        [5.0, 4.0, 3.0, 3.5, 2.0, 1.0],
        [5.0, 5.0, 5.5, 5.1, 1.0, 0.5],
        [9.0, float("nan"), 8.5, 7.9, 7.8, 7.0],
    ]
)


def train(regularizer, values, metric="val/loss"):
    """Let three networks make a random step in each epoch; return the state after each, and what is evaluated then."""
    net = MLP([5, 4, 3], [0, 1, 2], {"batch_norm": BatchNorm()}).double()
    generator = torch.Generator().manual_seed(0)
    regularizer.attach(net, [0, 1, 2])
    states, evaluated = [], []
    for epoch in range(values.shape[1]):
        with torch.no_grad():
            for x in net.state_dict().values():
                x.add_(torch.randn(x.shape, generator=generator, dtype=x.dtype))
            regularizer.after_step(net)
            with regularizer.evaluating(net):
                measured = vector(net)
            regularizer.after_epoch(net, {metric: values[:, epoch]})
        states.append(measured)
        with regularizer.evaluating(net):
            evaluated.append(vector(net))
    return states, evaluated, net


def vector(net):
    """All numbers of each replica, (S, N)."""
    return torch.cat([x.detach().flatten(1) for x in net.state_dict().values()], dim=1).clone()


def best_epochs(values, patience, min_delta):
    """Return for each epoch the best one until then, and whether training has stopped, in plain Python."""
    best, chosen, waited, stopped, found = float("inf"), None, 0, False, []
    for epoch, value in enumerate(values):
        if not stopped:
            if value < best - min_delta:
                best, chosen, waited = value, epoch, 0
            else:
                waited += 1
            stopped = waited >= patience
        found.append((chosen, stopped))
    return found


@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (2, 0.6), (9, 0.0)])
def test_each_replica_stops_when_it_no_longer_improves_and_keeps_its_best_epoch(patience, min_delta):
    states, evaluated, net = train(EarlyStopping(patience, min_delta), LOSSES)
    for k in range(3):
        found = best_epochs(LOSSES[k].tolist(), patience, min_delta)
        for epoch, (best, stopped) in enumerate(found):
            assert torch.equal(evaluated[epoch][k], states[best][k])
            if stopped and epoch + 1 < len(states):
                # frozen: the next epoch measures the same weights
                assert torch.equal(states[epoch + 1][k], states[best][k])
        assert torch.equal(vector(net)[k], states[found[-1][0]][k]) or not found[-1][1]


def test_the_best_checkpoint_is_that_of_the_lowest_loss_or_the_highest_accuracy_so_far():
    accuracies = torch.tensor([[0.1, 0.5, 0.4], [0.3, 0.2, 0.1], [0.1, 0.2, 0.2]])
    states, evaluated, net = train(BestCheckpoint("val/acc"), accuracies, "val/acc")
    for k, epochs in enumerate([[0, 1, 1], [0, 0, 0], [0, 1, 1]]):
        assert all(torch.equal(evaluated[now][k], states[best][k]) for now, best in enumerate(epochs))
    # training goes on from its own weights
    assert torch.equal(vector(net), states[-1])


def test_what_is_kept_are_the_weights_that_were_evaluated_averages_where_another_averages():
    net = MLP([5, 4, 3], [0, 1, 2]).double()
    given = {"stop": EarlyStopping(1), "ema": EMA(0.9)}
    for one in given.values():
        one.attach(net, [0, 1, 2])
    steps, contexts = with_hook(given, "after_step"), with_hook(given, "evaluating")
    assert list(steps) == list(contexts) == ["ema", "stop"]
    with torch.no_grad():
        for x in net.parameters():
            x.add_(1)
        for one in steps.values():
            one.after_step(net)
        with contexts["ema"].evaluating(net), contexts["stop"].evaluating(net):
            average = vector(net)
        given["stop"].after_epoch(net, {"val/loss": torch.ones(3)})
    assert not torch.equal(average, vector(net))
    with contexts["ema"].evaluating(net), contexts["stop"].evaluating(net):
        assert torch.equal(vector(net), average)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: EarlyStopping(0), "early_stopping: patience: must be at least 1, got 0"),
        (lambda: EarlyStopping(1, -0.1), "early_stopping: min_delta: must not be negative, got -0.1"),
        (lambda: BestCheckpoint("test/acc"), "metric: must be val/loss, val/acc or val/ece, got test/acc"),
    ],
)
def test_options_out_of_range_are_refused(make, fault):
    with pytest.raises(UserError, match=fault):
        make()
