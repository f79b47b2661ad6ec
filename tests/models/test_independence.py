"""A regularizer that lets replicas influence one another is found, and its hook is named."""

from contextlib import contextmanager

import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.independence import check_independent
from fashionreg.regularizers import EMA, BatchNorm, Dropout, Regularizer, ReplicaLayer, WeightDecay


class MeanOverReplicas(ReplicaLayer):
    def forward(self, x, key=None):
        return x - x.mean(dim=0)


class Layer(Regularizer):
    def after_activation(self, features, seeds):
        return MeanOverReplicas()


class GlobalNoise(Regularizer):
    def batch(self, images, targets, key):
        return images + torch.randn_like(images), targets


class OneDraw(Regularizer):
    def batch(self, images, targets, key):
        return images + key.normal(*images.shape[1:])[:1], targets


class Neighbours(Regularizer):
    def batch(self, images, targets, key):
        return images.flip(0), targets


class MeanPenalty(Regularizer):
    def penalty(self, network):
        return sum(x.square().mean() for x in network.parameters()).expand(len(next(network.parameters())))


class Scalar(Regularizer):
    def penalty(self, network):
        return sum(x.square().sum() for x in network.parameters())


class GlobalClipping(Regularizer):
    def gradients(self, compute, parameters, key):
        found = compute(parameters)
        norm = torch.stack([x.norm() for x in found.values()]).norm()
        return {name: x / norm for name, x in found.items()}


class Averaging(Regularizer):
    def after_step(self, network):
        for x in network.parameters():
            x.copy_(x.mean(dim=0, keepdim=True).expand_as(x))


class StopAll(Regularizer):
    def after_epoch(self, network, metrics):
        for x in network.parameters():
            x.mul_(metrics["val/acc"].mean())


class Best(Regularizer):
    @contextmanager
    def evaluating(self, network):
        for x in network.parameters():
            x.data = x.data[:1].expand_as(x)
        yield


class Broken(Regularizer):
    def batch(self, images, targets, key):
        return images @ torch.zeros(3, 3), targets


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        (Layer, "after_activation"),
        (GlobalNoise, "batch"),
        (OneDraw, "batch"),
        (Neighbours, "batch"),
        (MeanPenalty, "penalty"),
        (GlobalClipping, "gradients"),
        (Averaging, "after_step"),
        (StopAll, "after_epoch"),
        (Best, "evaluating"),
    ],
)
def test_a_hook_that_mixes_replicas_is_refused_by_name(kind, hook):
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=f"regularizers.mine: {hook}: seed . alone gives other numbers than beside"):
        check_independent("mine", kind(), inputs=6, classes=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_penalty_without_replica_axis_is_refused():
    with pytest.raises(
        UserError, match=r"regularizers.mine: penalty: must give tensors .*\(S, ...\), got the shape \(\)"
    ):
        check_independent("mine", Scalar(), inputs=6, classes=3)


def test_a_hook_that_raises_is_named_with_its_error():
    with pytest.raises(UserError, match="regularizers.mine: batch: RuntimeError: .*"):
        check_independent("mine", Broken(), inputs=6, classes=3)


@pytest.mark.parametrize("shipped", [BatchNorm(), Dropout(0.3), Dropout(0.0), WeightDecay(0.1), EMA(0.5)], ids=repr)
def test_shipped_regularizers_pass_and_stay_as_they_are(shipped):
    before = dict(shipped.state_dict())
    check_independent("mine", shipped, inputs=6, classes=3)
    assert shipped.state_dict().keys() == before.keys()
