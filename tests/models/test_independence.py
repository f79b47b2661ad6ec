"""A regularizer that lets replicas influence one another is found, and its hook is named."""

from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch import nn

from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP, StackedClassifier, StackedNetwork
from fashionreg.models.independence import check_independent
from fashionreg.models.networks import MLP
from fashionreg.regularizers import (
    EMA,
    L1,
    SAM,
    SWA,
    BatchNorm,
    BestCheckpoint,
    DecoupledWeightDecay,
    DropConnect,
    Dropout,
    EarlyStopping,
    GhostBatchNorm,
    GradientClipping,
    LayerNorm,
    Lookahead,
    MaxNorm,
    OrthogonalPenalty,
    Regularizer,
    ReplicaLayer,
    SpectralNorm,
    WeightClipping,
    WeightDecay,
    WeightNorm,
)
from samples import message

METRICS = [["train/loss", "train/acc", "val/loss", "val/acc", "val/ece"]]


def check(regularizer, kind=MLP):
    def make(copied, seeds):
        return MLP([6, 5, 3], seeds, {"mine": copied}) if kind is MLP else StackedNetwork(kind, 6, 3, seeds)

    check_independent("mine", regularizer, make, inputs=6, classes=3, metrics=METRICS)


class MeanOverReplicas(ReplicaLayer):
    def forward(self, x, key=None):
        return x - x.mean(dim=0)


class Layer(Regularizer):
    def after_activation(self, features, seeds):
        return MeanOverReplicas()


class SharedStatistics(ReplicaLayer):
    """Trains each replica alone, and evaluates it with a mean over replicas."""

    def __init__(self, replicas, features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(replicas, features))

    def forward(self, x, key=None):
        if not self.training:
            return x - self.mean
        with torch.no_grad():
            self.mean.copy_(x.mean(dim=(0, 1)).expand_as(self.mean))
        return x


class Statistics(Regularizer):
    def before_activation(self, features, seeds):
        return SharedStatistics(len(seeds), features)


class ReplacedStatistics(SharedStatistics):
    """Running statistics that are assigned: a step that works on the tensors of before would lose them."""

    def forward(self, x, key=None):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(dim=1)
        return x - self.mean.unsqueeze(1)


class Replaced(Regularizer):
    def before_activation(self, features, seeds):
        return ReplacedStatistics(len(seeds), features)


class MixedInEvaluation(ReplicaLayer):
    def forward(self, x, key=None):
        return x if self.training else x - x.mean(dim=0)


class Evaluated(Regularizer):
    def after_activation(self, features, seeds):
        return MixedInEvaluation()


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


class MeanTerm(Regularizer):
    def loss_term(self, logits, targets):
        return logits.square().mean().expand(len(logits))


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
        (Statistics, "before_activation"),
        (Evaluated, "after_activation"),
        (GlobalNoise, "batch"),
        (OneDraw, "batch"),
        (Neighbours, "batch"),
        (MeanPenalty, "penalty"),
        (MeanTerm, "loss_term"),
        (GlobalClipping, "gradients"),
        (Averaging, "after_step"),
        (StopAll, "after_epoch"),
        (Best, "evaluating"),
    ],
)
def test_a_hook_that_mixes_replicas_is_refused_by_name(kind, hook):
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=f"regularizers.mine: {hook}: seed . alone gives other numbers than beside"):
        check(kind())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_penalty_without_replica_axis_is_refused():
    with pytest.raises(
        UserError, match=r"regularizers.mine: penalty: must return a tensor .*\(S,\); got float32 \(\) for S = 2"
    ):
        check(Scalar())


def test_a_buffer_that_is_assigned_and_not_changed_in_place_is_refused_by_name():
    with pytest.raises(
        UserError, match=r"regularizers.mine: before_activation: forward replaces the buffer \S+mean; it"
    ):
        check(Replaced())


def test_a_hook_that_raises_is_named_with_its_error():
    with pytest.raises(UserError, match="regularizers.mine: batch: RuntimeError: .*"):
        check(Broken())


class Returning(Regularizer):
    def __init__(self, value):
        super().__init__()
        self.value = value


class NoPenalty(Returning):
    def penalty(self, network):
        return self.value


class NoTerm(Returning):
    def loss_term(self, logits, targets):
        return self.value


class NoBatch(Returning):
    def batch(self, images, targets, key):
        return self.value


class ImagesOnly(Regularizer):
    def batch(self, images, targets, key):
        return images[..., :4], targets


class NoGradients(Returning):
    def gradients(self, compute, parameters, key):
        return self.value


class NoContext(Returning):
    def evaluating(self, network):
        return self.value


class Raising(Regularizer):
    @contextmanager
    def evaluating(self, network):
        raise ValueError("no\nweights")
        yield


@pytest.mark.parametrize(
    ("regularizer", "fault"),
    [
        (NoPenalty(None), r"penalty: must return a tensor with the replica axis, \(S,\); got None"),
        (NoPenalty(torch.zeros(2, 1)), r"penalty: must return .*; got float32 \(2, 1\) for S = 2"),
        (NoTerm(None), r"loss_term: must return a tensor with the replica axis, \(S,\); got None"),
        (NoTerm(torch.zeros(2, 4)), r"loss_term: must return .*; got float32 \(2, 4\) for S = 2"),
        (NoBatch(None), r"batch: must return images, float \(S, B, D\), and targets, .*; got None"),
        (NoBatch((None, 3)), r"batch: must return images, .*; got \(None, int\)"),
        (ImagesOnly(), r"batch: must return images, .*; got \(float32 \(2, 4, 4\), int64 \(2, 4\)\)"),
        (NoGradients(None), r"gradients: must return a gradient \(S, ...\) for each parameter, by name; got None"),
        (NoGradients({}), r"gradients: must return .*; got None for layers.0.weight, which has the shape \(2, 6, 5\)"),
        (NoContext(None), "evaluating: must return a context manager; got None"),
        (Raising(), "evaluating: ValueError: no weights"),
    ],
)
def test_a_hook_that_returns_something_else_is_told_what_it_must_return(regularizer, fault):
    with pytest.raises(UserError, match=f"^regularizers.mine: {fault}") as error:
        check(regularizer)
    message(error)


class Convolution(nn.Module):
    """A user's network with a parameter that no loss depends on."""

    def __init__(self, inputs, classes):
        super().__init__()
        self.kernels = nn.Conv1d(1, 4, 3)
        self.last = nn.Linear(4 * (inputs - 2), classes)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.last(self.kernels(images[:, None]).relu().flatten(1))


class KernelNorms(Regularizer):
    """Of use in a network with `kernels` only."""

    def penalty(self, network):
        return network.stacked.kernels.weight.flatten(1).norm(dim=1)


class MixedKernels(Regularizer):
    def penalty(self, network):
        return network.stacked.kernels.weight.flatten(1).norm().expand(len(network.stacked.kernels.weight))


def test_a_regularizer_is_tried_on_the_network_that_it_acts_on():
    check(KernelNorms(), Convolution)
    with pytest.raises(UserError, match="regularizers.mine: penalty: seed 3 alone gives other numbers"):
        check(MixedKernels(), Convolution)
    model = StackedClassifier(Convolution, regularizers={"norms": KernelNorms(), "ema": EMA()}, seeds=[0, 1])
    model.build(6, 3).check_regularizers(["val"])
    model = StackedClassifier(Convolution, regularizers={"mixed": MixedKernels()}, seeds=[0, 1]).build(6, 3)
    with pytest.raises(UserError, match="regularizers.mixed: penalty: seed 3 alone gives other numbers"):
        model.check_regularizers(["val"])


def test_the_layers_of_a_regularizer_are_tried_once_and_without_those_of_others():
    class Counting(Regularizer):
        made: ClassVar[list] = []

        def after_activation(self, features, seeds):
            self.made.append((features, list(seeds)))

    regularizers = {"one": Counting(), "layer": Layer()}
    model = RegularizedMLP([5, 4], regularizers=regularizers, seeds=[0, 1]).build(6, 3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    Counting.made.clear()
    with pytest.raises(UserError, match="regularizers.layer: after_activation: seed 3 alone gives other numbers"):
        model.check_regularizers(["val"])
    assert Counting.made == [(width, seeds) for seeds in ([3, 7], [3], [7]) for width in (5, 4)]
    assert list(model.regularizers) == ["one", "layer"]
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


SHIPPED = [BatchNorm(), Dropout(0.3), Dropout(0.0), WeightDecay(0.1), EMA(0.5), L1(0.1), DecoupledWeightDecay(0.1)]
SHIPPED += [MaxNorm(0.1), OrthogonalPenalty(0.1), SpectralNorm(), WeightClipping(0.1), WeightNorm(), DropConnect(0.3)]
SHIPPED += [LayerNorm(), GhostBatchNorm(2), SWA(0), Lookahead(1), SAM(0.5), EarlyStopping(1), BestCheckpoint()]
SHIPPED += [GradientClipping(0.01, kind) for kind in ("norm", "value", "adaptive")]


@pytest.mark.parametrize("shipped", SHIPPED, ids=repr)
def test_shipped_regularizers_pass_and_stay_as_they_are(shipped):
    before = dict(shipped.state_dict())
    check(shipped)
    assert shipped.state_dict().keys() == before.keys()


class Unkept(Regularizer):
    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.deviation = std


def test_an_argument_that_is_not_kept_is_refused_as_its_description_would_not_show_it():
    with pytest.raises(UserError, match=r"^regularizers.mine: Unkept must keep its argument std .*self.std = std"):
        check(Unkept(0.2))
    kept = Returning(0.2)
    check(kept)
    assert kept.describe() == "returning 0.2"


class Reading(Regularizer):
    def __init__(self, metric: str) -> None:
        super().__init__()
        self.metric = metric

    def after_epoch(self, network, metrics):
        metrics[self.metric]


@pytest.mark.parametrize("metric", ["val/loss", "test/acc", "train/ece"])
def test_a_metric_that_the_run_does_not_have_is_named_before_training(metric):
    model = RegularizedMLP([5], regularizers={"mine": Reading(metric)}, seeds=[0, 1]).build(6, 3)
    with pytest.raises(UserError, match=f"mine: after_epoch: reads {metric}; .* has train/loss, train/acc"):
        model.check_regularizers(["test"])
    if metric != "test/acc":
        model.check_regularizers(["train", "val", "test"])
        with pytest.raises(UserError, match=f"regularizers.mine: after_epoch: reads {metric}"):
            model.check_regularizers(["train", "val", "test"], every_epoch=False)
