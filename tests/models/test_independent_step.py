"""A training step, a loss or a network of a user that lets replicas influence one another is refused in one line."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP
from fashionreg.models.networks import MLP
from fashionreg.models.objective import cross_entropy
from fashionreg.training.fit import EXPECTED_WARNINGS
from samples import message

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{text}" for text in EXPECTED_WARNINGS))


def fit(kind, **options):
    model = kind(hidden_sizes=[8], optimizer=partial(torch.optim.SGD, lr=0.1), seeds=[0, 5], **options)
    data = SyntheticDataModule(train_size=100, test_size=50, seeds=[0, 5])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, num_sanity_val_steps=0, **quiet)
    trainer.fit(model, data)
    return model


def smoothed(logits, targets, reduction):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.1, reduction=reduction)


class MeanOverReplicas(RegularizedMLP):
    def training_step(self, batch, batch_idx):
        images, targets = batch
        return smoothed(self(images), targets, "mean")


class SumOverReplicas(RegularizedMLP):
    """The same with what a step must return."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        images, targets = batch
        logits = self(images)
        self.log("smoothed", loss)
        return {"loss": smoothed(logits, targets, "none").view(targets.shape).mean(dim=1).sum()}


class Smoothed(RegularizedMLP):
    def loss(self, logits, targets):
        return smoothed(logits, targets, "none").view(targets.shape)


class Focal(RegularizedMLP):
    def loss(self, logits, targets):
        losses = cross_entropy(logits, targets)
        return (1 - torch.exp(-losses)) ** 2 * losses


class Reduced(RegularizedMLP):
    def loss(self, logits, targets):
        return smoothed(logits, targets, "mean")


class Noisy(RegularizedMLP):
    def loss(self, logits, targets):
        return cross_entropy(logits + torch.randn_like(logits), targets)


class Mixing(RegularizedMLP):
    def loss(self, logits, targets):
        return cross_entropy(logits - logits.mean(dim=0), targets)


class NoisyNetwork(MLP):
    def forward(self, images, keys=None):
        return super().forward(images + 0.1 * torch.randn_like(images) if self.training else images, keys)


class OwnNetwork(RegularizedMLP):
    def make_network(self, inputs, classes, seeds):
        return NoisyNetwork([inputs, 8, classes], seeds)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (
            MeanOverReplicas,
            "training_step: the gradients of a seed are divided by the number of seeds, as of a mean over all; ",
        ),
        (Reduced, "loss: must return the loss of each image, (S, B), here (2, 4); got float32 ()"),
        (Noisy, "training_step: seed 3 alone has other gradients of layers.0.weight than beside seed 7"),
        (Mixing, "training_step: seed 3 alone has other gradients of layers.0.weight than beside seed 7"),
        (OwnNetwork, "all random numbers must come from keys, not from torch.rand or torch.randn"),
    ],
)
def test_a_step_that_does_not_treat_replicas_alone_is_refused(kind, fault):
    with pytest.raises(UserError) as error:
        fit(kind)
    assert fault in message(error)


def test_a_step_a_loss_and_regularizers_that_do_are_trained():
    own, hook = fit(SumOverReplicas), fit(Smoothed)
    for one, other in zip(own.network.parameters(), hook.network.parameters(), strict=True):
        # of the size of 1, after two steps of sums of 784 terms
        torch.testing.assert_close(one, other, rtol=0, atol=2 * 784 * 2**-24)
    assert "smoothed" in own.trainer.callback_metrics
    fit(Focal, batch_norm=True, dropout=0.2)
