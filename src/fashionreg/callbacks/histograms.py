"""Histograms in TensorBoard: how weights, gradients and pre-activations of a network are distributed."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from fashionreg.callbacks.tensorboard import writers
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier

#: Number of training images on which pre-activations are computed.
PROBED = 512


class Histograms(Callback):
    """Write histograms of weights, gradients and pre-activations of one network at the end of every n-th epoch.

    Tags have the names of `ReplicaNetwork.readable_parameters`: `weights/linear1.weight`, `weights/linear1.bias`,
    `gradients/...` of the same (those of the last step of the epoch, after clipping) and `pre_activations/relu1`, the
    input of each ReLU for the first 512 training images. Where a regularizer computes the weights from others, as
    weight normalization does, these are the computed ones, and the gradients those of what is trained. Tensors with
    non-finite values are skipped.

    Args:
        every_n_epochs: Epochs between two histograms, at least 1.
        replica: Index of the network, 0 to S - 1 in the order of the seeds.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(self, every_n_epochs: int = 1, replica: int = 0) -> None:
        if every_n_epochs < 1:
            raise UserError(f"every_n_epochs: must be at least 1, got {every_n_epochs}")
        if replica < 0:
            raise UserError(f"replica: must not be negative, got {replica}")
        self.every_n_epochs = every_n_epochs
        self.replica = replica
        self._gradients: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a replica that does not exist, and a network that does not show its pre-activations."""
        if not isinstance(pl_module, Classifier):
            return
        if self.replica >= len(pl_module.seeds):
            last = len(pl_module.seeds) - 1
            raise UserError(f"replica: must be 0 to {last}, one of {last + 1} trained side by side, got {self.replica}")
        self._pre_activations(trainer, pl_module, pl_module.network.smallest_batch)

    def needs_gradients(self, trainer: Trainer) -> bool:
        """Return whether the gradients of the next step are shown."""
        return self._is_due(trainer) and (trainer.is_last_batch or trainer.global_step + 1 == trainer.max_steps)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Keep the gradients of the last step, as Lightning clears them before validation."""
        if not self._is_due(trainer) or not isinstance(pl_module, Classifier):
            return
        if trainer.is_last_batch or trainer.global_step == trainer.max_steps:
            self._gradients = {
                name: parameter.grad[self.replica].detach().clone()
                for name, parameter in pl_module.network.readable_parameters().items()
                if parameter.grad is not None
            }

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the histograms."""
        targets = writers(trainer)
        if not targets or not self._is_due(trainer) or not isinstance(pl_module, Classifier):
            return
        network = pl_module.network
        with pl_module.with_used_weights():
            parameters = network.readable_parameters()
            values = {f"weights/{name}": x[self.replica].detach().clone() for name, x in parameters.items()}
        values |= {f"gradients/{name}": gradient for name, gradient in self._gradients.items()}
        self._gradients = {}
        values |= {
            f"pre_activations/{name}": x[self.replica]
            for name, x in self._pre_activations(trainer, pl_module, PROBED).items()
        }
        for tag, tensor in values.items():
            numbers = tensor.detach().float().cpu()
            if numbers.isfinite().all():
                for writer in targets:
                    writer.add_histogram(tag, numbers.numpy(), trainer.current_epoch + 1)

    @staticmethod
    def _pre_activations(trainer: Trainer, module: Classifier, count: int) -> dict[str, Tensor]:
        """Compute the pre-activations of the first training images, where the data are known."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ImageDataModule):
            return {}
        images = data.first_images(data.splits.train, count)
        with module.with_used_weights():
            return module.network.pre_activations(images.to(next(module.network.parameters()).dtype))

    def _is_due(self, trainer: Trainer) -> bool:
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0
