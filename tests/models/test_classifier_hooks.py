"""Regularizers of a user in a real fit: every hook does what it says, in Lightning's loop and in the direct one."""

from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models import BaselineMLP, RegularizedMLP, StackedClassifier
from fashionreg.randomness import Key, fold_in, replica_keys
from fashionreg.regularizers import EMA, BatchNorm, Dropout, Regularizer, ReplicaLayer, WeightDecay
from fashionreg.regularizers.base import per_replica
from fashionreg.training.fit import EXPECTED_WARNINGS
from fashionreg.training.loop import DirectEpochLoop
from samples import PIXELS, rounding

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))


#: Arguments of `fit` for a comparison of numbers that are computed in different orders.
EXACT = {"precision": "64-true"}

#: How far these may lie apart: sums over the pixels, of absolute values below 1000; eight steps carry differences on.
DOUBLE = rounding(PIXELS, 1000, torch.float64)


class Noise(Regularizer):
    def batch(self, images, targets, key):
        return images + 0.1 * key.normal(*images.shape[1:]), targets


class Smoothing(Regularizer):
    def batch(self, images, targets, key):
        return images, 0.9 * F.one_hot(targets, 10) + 0.01


class Clipping(Regularizer):
    def gradients(self, compute, parameters, key):
        found = compute(parameters)
        norms = torch.stack([x.flatten(1).norm(dim=1) for x in found.values()]).norm(dim=0)
        scale = (0.1 / (norms + 1e-6)).clamp(max=1)
        return {name: x * per_replica(scale, x) for name, x in found.items()}


class Sharpness(Regularizer):
    """Sharpness-aware minimization (Foret et al. 2021)."""

    def gradients(self, compute, parameters, key):
        found = compute(parameters)
        norms = torch.stack([x.flatten(1).norm(dim=1) for x in found.values()]).norm(dim=0)
        return compute(
            {name: x + 0.05 * per_replica(1 / norms, found[name]) * found[name] for name, x in parameters.items()}
        )


class NoisyGradients(Regularizer):
    def gradients(self, compute, parameters, key):
        found = compute(parameters)
        return {
            name: x + 0.01 * key.fold_in(number).normal(*x.shape[1:]) for number, (name, x) in enumerate(found.items())
        }


class BoundedNorm(Regularizer):
    def after_step(self, network):
        for x in network.parameters():
            if x.dim() == 3:
                x.mul_((0.5 / x.norm(dim=1, keepdim=True)).clamp(max=1))


class Halving(Regularizer):
    def after_epoch(self, network, metrics):
        assert {name.partition("/")[0] for name in metrics} == {"train", "val"}
        better = per_replica(metrics["val/acc"] > 2, next(network.parameters()))
        assert not better.any()
        for x in network.parameters():
            x.mul_(0.5)


class Zero(Regularizer):
    @contextmanager
    def evaluating(self, network):
        kept = [x.detach().clone() for x in network.parameters()]
        for x in network.parameters():
            x.data.zero_()
        yield
        for x, before in zip(network.parameters(), kept, strict=True):
            x.data.copy_(before)


SEVERAL = {"batch_norm": BatchNorm, "dropout": partial(Dropout, 0.2), "noise": Noise, "smoothing": Smoothing}
SEVERAL |= {"decay": partial(WeightDecay, 0.01), "clipping": Clipping, "gradient_noise": NoisyGradients}
SEVERAL |= {"sharpness": Sharpness, "max_norm": BoundedNorm, "ema": partial(EMA, 0.9)}


def fit(regularizers, seeds, direct=True, epochs=2, kind=RegularizedMLP, **options):
    named = {name: make() for name, make in regularizers.items()}
    model = kind([8], regularizers=named, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9), seeds=seeds)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    if direct:
        DirectEpochLoop.install(trainer)
    data = SyntheticDataModule(train_size=200, test_size=50, batch_size=64, val_size=40, seeds=seeds)
    trainer.fit(model, datamodule=data)
    return model, trainer


def test_a_replica_with_every_kind_of_hook_trains_among_others_as_alone():
    (together, _), (alone, _) = fit(SEVERAL, [5, 1, 7], **EXACT), fit(SEVERAL, [1], **EXACT)
    for name, value in alone.state_dict().items():
        if value.dim():
            torch.testing.assert_close(together.state_dict()[name][1], value[0], rtol=0, atol=DOUBLE, msg=name)
    for split, metrics in alone.results().items():
        torch.testing.assert_close(together.results()[split]["loss"][1], metrics["loss"][0], rtol=0, atol=DOUBLE)


def test_both_loops_compute_the_same_with_every_kind_of_hook():
    (direct, trainer), (lightnings, _) = (fit(SEVERAL, [5, 1], direct) for direct in (True, False))
    assert trainer.fit_loop.epoch_loop._direct
    for name, value in direct.state_dict().items():
        assert torch.equal(value, lightnings.state_dict()[name]), name


def test_clipping_as_a_hook_is_clipping_by_the_trainer():
    hook, _ = fit({"clipping": Clipping}, [0, 1], **EXACT)
    option, _ = fit({}, [0, 1], gradient_clip_val=0.1, **EXACT)
    for name, value in hook.state_dict().items():
        torch.testing.assert_close(value, option.state_dict()[name], rtol=0, atol=DOUBLE)


def test_sharpness_aware_minimization_makes_the_steps_of_a_plain_loop():
    ours, _ = fit({"sharpness": Sharpness}, [3], epochs=1, **EXACT)
    start = RegularizedMLP([8], seeds=[3]).build(784, 10).network.replica(0).double()
    optimizer = torch.optim.SGD(start.parameters(), lr=0.1, momentum=0.9)
    data = SyntheticDataModule(train_size=200, test_size=50, batch_size=64, val_size=40, seeds=[3])
    for images, labels in data.train_dataloader():
        images = images.double()
        F.cross_entropy(start(images[0]), labels[0]).backward()
        gradients = [x.grad.clone() for x in start.parameters()]
        norm = torch.stack([x.norm() for x in gradients]).norm()
        with torch.no_grad():
            for x, gradient in zip(start.parameters(), gradients, strict=True):
                x += 0.05 * gradient / norm
        optimizer.zero_grad()
        F.cross_entropy(start(images[0]), labels[0]).backward()
        with torch.no_grad():
            for x, gradient in zip(start.parameters(), gradients, strict=True):
                x -= 0.05 * gradient / norm
        optimizer.step()
        optimizer.zero_grad()
    for trained, plain in zip(ours.network.replica(0).parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(trained, plain, rtol=0, atol=DOUBLE)


class Twice(Regularizer):
    """Compute the gradients twice, the second time from copies of the parameters, and use the first ones."""

    def gradients(self, compute, parameters, key):
        found = compute(parameters)
        again = compute({name: x.clone() for name, x in parameters.items()})
        for name, gradient in again.items():
            assert torch.equal(gradient, found[name])
        return found


class TorchNorm(nn.Sequential):
    """A user's network with a buffer that a step changes."""

    def __init__(self, inputs, classes):
        super().__init__(nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, classes))


@pytest.mark.parametrize("direct", [True, False])
def test_running_statistics_change_once_a_step_however_often_gradients_are_computed(direct):
    (once, _), (twice, _) = (fit({"bn": BatchNorm} | hooks, [0, 1], direct) for hooks in ({}, {"twice": Twice}))
    for name, value in once.network.state_dict().items():
        assert torch.equal(value, twice.network.state_dict()[name]), name


def test_statistics_of_a_users_network_change_once_a_step_too():
    def fitted(hooks):
        return fit(hooks, [0, 1], kind=lambda hidden, **options: StackedClassifier(TorchNorm, **options))[0].network

    once, twice = fitted({}).state_dict(), fitted({"twice": Twice}).state_dict()
    assert once["stacked.1.num_batches_tracked"].tolist() == [6, 6]
    for name, value in once.items():
        assert torch.equal(value, twice[name]), name


# Lightning's, to whoever overrides optimizer_step; after_step does follow steps of the optimizer
@pytest.mark.filterwarnings("ignore:When using `Trainer.accumulate_grad_batches != 1.` and overriding")
@pytest.mark.parametrize(
    "options",
    [{"accumulate_grad_batches": 2}, {"callbacks": [GradientAccumulationScheduler({1: 2})]}],
    ids=["option", "callback"],
)
def test_batches_that_a_gradient_hook_would_lose_are_refused(options):
    fit({"decay": WeightDecay}, [0], epochs=1, **options)
    with pytest.raises(UserError, match=r"accumulate_grad_batches: must be 1, .* regularizers.clipping .*; got 2; use"):
        fit({"clipping": Clipping}, [0], **options)


def test_a_scaled_loss_is_refused_with_a_gradient_hook():
    with pytest.raises(UserError, match=r"precision: 16-mixed scales the loss, .* regularizers.clipping .* bf16-mixed"):
        fit({"clipping": Clipping}, [0], plugins=[MixedPrecision("16-mixed", "cpu")])


def test_two_consumers_of_random_numbers_never_share_them():
    class Spy(Regularizer):
        def __init__(self):
            super().__init__()
            self.seen = []

        def batch(self, images, targets, key):
            self.seen.append(key.words.clone())
            return images, targets

    model, _ = fit({"one": Spy, "other": Spy, "dropout": partial(Dropout, 0.5)}, [0, 1], epochs=2)
    one, other = (torch.stack(model.regularizers[name].seen).unbind() for name in ("one", "other"))
    words = {tuple(key.flatten().tolist()) for key in (*one, *other)}
    assert len(words) == len(one) + len(other) == 2 * 2 * 3
    # the key is the documented one: seed, name, epoch, step
    expected = fold_in(fold_in(replica_keys([0, 1], "one/batch", 1), 0), 2)
    assert torch.equal(one[-1], expected)


def test_a_penalty_is_trained_on_but_not_reported():
    (plain, _), (penalized, _) = (
        fit(hooks, [0], epochs=1, limit_train_batches=1) for hooks in ({}, {"decay": partial(WeightDecay, 10.0)})
    )
    assert plain.results()["train"]["loss"].item() == penalized.results()["train"]["loss"].item()
    assert not torch.equal(plain.network.layers[0].weight, penalized.network.layers[0].weight)


class Sparing(Regularizer):
    """A term of the loss that pulls towards small logits."""

    def loss_term(self, logits, targets):
        assert targets.shape == logits.shape[:2]
        return 3 * logits.square().mean(dim=(1, 2))


def test_a_term_of_the_loss_is_trained_on_but_not_reported():
    (plain, _), (spared, _) = (
        fit(hooks, [0, 1], epochs=1, limit_train_batches=1, **EXACT) for hooks in ({}, {"sparing": Sparing})
    )
    assert torch.equal(plain.results()["train"]["loss"], spared.results()["train"]["loss"])
    # the step of a plain loop, with the gradient of both terms
    start = RegularizedMLP([8], seeds=[0, 1]).build(784, 10).network.replica(1).double()
    data = SyntheticDataModule(train_size=200, test_size=50, batch_size=64, val_size=40, seeds=[0, 1])
    images, labels = next(iter(data.train_dataloader()))
    logits = start(images[1].double())
    (F.cross_entropy(logits, labels[1]) + 3 * logits.square().mean()).backward()
    for trained, x in zip(spared.network.replica(1).parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(trained, (x - 0.1 * x.grad).detach(), rtol=0, atol=DOUBLE)


class Told(Regularizer):
    def attach_data(self, data):
        self.data = data


def test_regularizers_are_told_what_the_images_are():
    (model, _) = fit({"told": Told}, [0], epochs=1)
    assert model.regularizers["told"].data == ((28, 28), 10, 0.0, 1.0)


def test_without_a_datamodule_they_are_told_the_number_of_inputs():
    model = RegularizedMLP([8], regularizers={"told": Told()}).build(784, 10)
    data = SyntheticDataModule(train_size=200, test_size=50, seeds=[0])
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data.train_dataloader(), data.val_dataloader())
    assert model.regularizers["told"].data == ((784,), 10, 0.0, 1.0)


def test_a_regularizer_that_refuses_the_data_is_named():
    class Choosy(Regularizer):
        def attach_data(self, data):
            raise UserError("needs something else")

    with pytest.raises(UserError, match="^regularizers.choosy: needs something else$"):
        fit({"choosy": Choosy}, [0])


def test_a_regularizer_that_must_see_the_images_as_they_are_comes_first():
    class First(Regularizer):
        first = True

        def batch(self, images, targets, key):
            assert images.max() <= 1
            return images, targets

    class Brighter(Regularizer):
        def batch(self, images, targets, key):
            return images + 1, targets

    fit({"brighter": Brighter, "one": First, "other": First}, [0], epochs=1)


def test_after_epoch_sees_every_metric_but_those_of_test_data():
    (model, _), (plain, _) = fit({"halving": Halving}, [0, 1], epochs=1), fit({}, [0, 1], epochs=1)
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, 0.5 * plain.network.state_dict()[name])


def test_evaluation_uses_the_weights_of_the_regularizer_and_training_continues_from_its_weights():
    (zero, _), (plain, _) = fit({"zero": Zero}, [0, 1]), fit({}, [0, 1])
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, zero.network.state_dict()[name]), name
    results = zero.results()
    # equal logits for all ten classes
    torch.testing.assert_close(results["test"]["loss"], torch.full((2,), 10.0).log())
    assert not torch.allclose(plain.results()["test"]["loss"], results["test"]["loss"])
    with zero.evaluating() as network:
        assert not network.training
        assert all((x == 0).all() for x in network.parameters())


def test_hooks_that_are_not_overridden_are_not_called():
    model, _ = fit({"batch_norm": BatchNorm}, [0], epochs=1)
    assert model.objective.consumers == []
    assert not model.objective.gradient_hooks


class Mean(RegularizedMLP):
    """A user's loss of each image; the sum over replicas is computed elsewhere."""

    def loss(self, logits, targets):
        return 2 * super().loss(logits, targets)


def test_a_loss_of_ones_own_is_trained_on_and_reported_for_each_replica():
    (together, _), (alone, _) = (fit({}, seeds, kind=Mean, **EXACT) for seeds in ([4, 2], [2]))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name][1], value[0], rtol=0, atol=DOUBLE)


@pytest.mark.parametrize(
    "callback", [StochasticWeightAveraging(0.1), WeightAveraging()], ids=lambda c: type(c).__name__
)
def test_lightnings_weight_averaging_is_refused_with_our_own_named(callback):
    with pytest.raises(UserError, match=f"{type(callback).__name__}: .* use the regularizer EMA"):
        fit({}, [0], callbacks=[callback])


@pytest.mark.parametrize("name", ["a.b", "linear", "relu", "", "1st"])
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(UserError, match=f"regularizers: '{name}' cannot be a name"):
        RegularizedMLP(regularizers={name: BatchNorm()})


def test_a_regularizer_is_given_once():
    with pytest.raises(UserError, match="dropout: is given in its short form and among the regularizers"):
        RegularizedMLP(dropout=0.1, regularizers={"dropout": Dropout(0.1)})


def test_the_network_follows_the_shape_of_the_data():
    class Cropped(SyntheticDataModule):
        @property
        def class_names(self):
            return ("a", "b", "c")

        def load(self):
            from fashionreg.data.images import LabelledImages

            return tuple(LabelledImages(part.images[:, 4:20, 4:20], part.labels % 3) for part in super().load())

    model = BaselineMLP([8], seeds=[0, 1])
    trainer = Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        callbacks=[Callback()],
    )
    trainer.fit(model, datamodule=Cropped(train_size=200, test_size=50, seeds=[0, 1]))
    assert model.network.sizes == [256, 8, 3]
    with pytest.raises(UserError, match="data: has 784 inputs and 10 classes; the network was built for 256 inputs"):
        model.build(784, 10)


def test_draws_of_a_key_have_their_distributions():
    key = Key(replica_keys([0, 1, 2], "noise"))
    normal = key.normal(200, 100).double()
    # five standard errors of mean and variance of 20,000 independent draws
    assert normal.mean(dim=(1, 2)).abs().max() < 5 / 20_000**0.5
    assert (normal.var(dim=(1, 2)) - 1).abs().max() < 5 * (2 / 20_000) ** 0.5
    assert normal.isfinite().all()
    uniform = key.fold_in(1).uniform(20_000).double()
    assert (uniform >= 0).all()
    assert (uniform < 1).all()
    assert (uniform.mean(dim=1) - 0.5).abs().max() < 5 / (12 * 20_000) ** 0.5
    for row in key.permutation(50):
        assert sorted(row.tolist()) == list(range(50))
    rate = key.bernoulli(torch.tensor(0.3), 20_000).double().mean(dim=1)
    assert (rate - 0.3).abs().max() < 5 * (0.21 / 20_000) ** 0.5
    assert key.bernoulli(1.0, 10).all()
    assert not key.bernoulli(0.0, 10).any()
    assert torch.equal(Key(replica_keys([1], "noise")).normal(200, 100)[0], key.normal(200, 100)[1])


class Keeping(Regularizer):
    """Keeps the names of the metrics of every epoch, of the check too, whose copies share the list."""

    seen: ClassVar[list] = []

    def after_epoch(self, network, metrics):
        self.seen.append((len(network.state_dict()["layers.0.weight"]), [*metrics]))


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({}, {}),
        ({"val_size": 40}, {}),
        ({"val_size": 40, "evaluate_train": True}, {}),
        ({"val_size": 40}, {"check_val_every_n_epoch": 2}),
        ({"val_size": 40}, {"limit_val_batches": 0}),
    ],
)
def test_the_check_feeds_the_metrics_that_the_epochs_have(data, options, workplace, run):
    Keeping.seen.clear()
    options = [word for name, value in options.items() for word in (f"--trainer.{name}", value)]
    options += [word for name, value in data.items() for word in (f"--data.init_args.{name}", value)]
    regularizer = f"--model.init_args.regularizers={{keep: {{class_path: {__name__}.Keeping}}}}"
    code, _, err = run("fit", "--config", "tiny.yaml", "--seeds", 3, regularizer, *options)
    assert code == 0, err
    *tried, first, second = Keeping.seen
    assert first[0] == second[0] == 3
    assert {count for count, _ in tried} == {1, 2}
    assert {tuple(sorted(names)) for _, names in tried} == {tuple(sorted(names)) for _, names in (first, second)}


class Late(Regularizer):
    """Fails in training, after the check."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook
        self.calls = 0

    def overrides(self, hook):
        return hook == self.hook

    def _late(self, hook, result=None):
        self.calls += hook == self.hook
        if self.calls > 3:
            raise ZeroDivisionError("too\nlate")
        return result

    def batch(self, images, targets, key):
        return self._late("batch", (images, targets))

    def penalty(self, network):
        return self._late("penalty", super().penalty(network))

    def gradients(self, compute, parameters, key):
        return self._late("gradients", compute(parameters))

    def after_step(self, network):
        self._late("after_step")

    def after_epoch(self, network, metrics):
        self._late("after_epoch")

    def evaluating(self, network):
        return self._late("evaluating", super().evaluating(network))


@pytest.mark.parametrize("hook", ["batch", "penalty", "gradients", "after_step", "after_epoch", "evaluating"])
def test_a_hook_that_fails_in_training_is_named(hook):
    with pytest.raises(UserError, match=f"^regularizers.late: {hook}: ZeroDivisionError: too late$"):
        fit({"late": partial(Late, hook)}, [0], epochs=5)


class Unready(Regularizer):
    def attach(self, network, seeds):
        raise ZeroDivisionError("not\nready")


class Unmade(Regularizer):
    def before_activation(self, features, seeds):
        raise ZeroDivisionError("not\nmade")


@pytest.mark.parametrize(
    ("kind", "fault"), [(Unready, "attach: .*: not ready"), (Unmade, "before_activation: .*: not made")]
)
def test_a_hook_that_fails_when_the_network_is_built_is_named(kind, fault):
    with pytest.raises(UserError, match=f"^regularizers.mine: {fault}$"):
        RegularizedMLP([8], regularizers={"mine": kind()}).build(6, 3)


class Triple(ReplicaLayer):
    smallest_batch = 3

    def forward(self, x, key=None):
        return x


class InThrees(Regularizer):
    def after_activation(self, features, seeds):
        return Triple()


@pytest.mark.parametrize(
    ("kind", "images", "fault"),
    [
        ("BatchNorm", 129, "hold 1 image, and the network needs at least 2"),
        (f"{__name__}.InThrees", 130, "hold 2 images, and the network needs at least 3"),
    ],
)
def test_a_last_batch_that_is_too_small_is_refused_with_both_numbers(kind, images, fault, refusal):
    regularizer = f"--model.init_args.regularizers={{mine: {{class_path: {kind}}}}}"
    _, line = refusal("fit", "--config", "tiny.yaml", "--data.init_args.train_size", images, regularizer)
    assert f"batch_size: the last batch of an epoch would {fault}" in line
