"""Internal covariate shift: how the inputs of a layer change while the layers before it learn."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from fashionreg.callbacks.run_record import Recorded
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.runs.record import DRIFT_STATISTICS, PERCENTILES


class ActivationDrift(Recorded):
    """Record the distribution of ReLU inputs during training (figure 1 b, c of Ioffe and Szegedy 2015).

    Every few steps the same training images pass through the network, in training mode but without dropout. For each
    hidden layer `hidden1`, `hidden2`, ... and each replica it computes

    * `p15`, `p50`, `p85`: percentiles over the images of the input of one unit's ReLU;
    * `mean_drift`, `std_drift`: how far the mean and the standard deviation of a unit's input are from where they were
      in the first step, in standard deviations of the first step, a mean over the layer's units;
    * `dead`: the share of units, 0 to 1, whose ReLU lets none of the images through;
    * `gradient_norm`: the Euclidean norm of the gradient of the layer's weights in this step's batch.

    TensorBoard shows their means over replicas (`drift/<layer>/<statistic>`, x-axis: optimizer step), and `drift.csv`
    beside the record has one row for each number: seed, step, layer, statistic, value.

    Args:
        every_n_steps: Steps between two measurements.
        images: Number of images, the first of the training images.
        unit: Index, from 0, of the unit of every hidden layer whose percentiles are recorded.
    """

    table_name = "drift"

    def __init__(self, every_n_steps: int = 50, images: int = 256, unit: int = 0) -> None:
        if every_n_steps < 1:
            raise UserError(f"ActivationDrift: every_n_steps: must be at least 1, got {every_n_steps}")
        if images < 2:
            raise UserError(f"ActivationDrift: images: must be at least 2, got {images}")
        self._every = every_n_steps
        self._count = images
        self._unit = unit
        self._images: Tensor | None = None
        self._origin: list[tuple[Tensor, Tensor]] = []
        self._seeds: list[int] = []
        # measurements of the running epoch, still on the device; and all earlier ones, as numbers
        self._fresh: list[tuple[int, Tensor]] = []
        self._measurements: list[tuple[int, list[list[list[float]]]]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images.

        Raises:
            UserError: If a hidden layer does not have the chosen unit.
        """
        assert isinstance(pl_module, Classifier)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(datamodule, ImageDataModule)
        weights = pl_module.network.hidden_weights()
        narrowest = min((x.shape[-1] for x in weights.values()), default=0)
        if narrowest and not 0 <= self._unit < narrowest:
            raise UserError(
                f"ActivationDrift: unit: must be from 0 to {narrowest - 1} (the narrowest hidden layer has "
                f"{narrowest} units), got {self._unit}"
            )
        self._images = datamodule.first_images(datamodule.splits.train, self._count)
        self._seeds = pl_module.seeds

    def needs_gradients(self, trainer: Trainer) -> bool:
        """Return whether the next step is measured."""
        return trainer.global_step % self._every == 0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure in every n-th step."""
        if trainer.global_step % self._every == 0:
            assert isinstance(pl_module, Classifier)
            self._fresh.append((trainer.global_step, self._measure(pl_module)))

    def _measure(self, module: Classifier) -> Tensor:
        """Compute the statistics of every hidden layer, `(layers, statistics, S)`."""
        assert self._images is not None
        dtype = next(module.network.parameters()).dtype
        with module.with_used_weights():
            inputs = module.network.pre_activations(self._images.to(dtype))
        weights = module.network.hidden_weights()
        rows = []
        for position, (name, x) in enumerate(inputs.items()):
            # 16 bits cannot resolve small drifts, and torch computes no quantiles of them
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            mean, std = x.mean(dim=1), x.std(dim=1)
            if len(self._origin) <= position:
                self._origin.append((mean, std))
            first_mean, first_std = self._origin[position]
            # a standard deviation of 0 in the first step would divide by zero
            scale = first_std.clamp(min=torch.finfo(x.dtype).eps)
            gradient = weights[name].grad
            norm = (
                torch.zeros(len(self._seeds), device=x.device) if gradient is None else gradient.flatten(1).norm(dim=1)
            )
            rows.append(
                torch.stack(
                    [
                        *x[:, :, self._unit].quantile(x.new_tensor(PERCENTILES) / 100, dim=1),
                        ((mean - first_mean).abs() / scale).mean(dim=1),
                        ((std - first_std).abs() / scale).mean(dim=1),
                        (x <= 0).all(dim=1).to(x.dtype).mean(dim=1),
                        norm.to(x.dtype),
                    ]
                )
            )
        return torch.stack(rows) if rows else torch.empty(0, len(DRIFT_STATISTICS), len(self._seeds))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the epoch's measurements from the device, and log them."""
        for step, measurement in self._fresh:
            values = measurement.cpu().tolist()
            self._measurements.append((step, values))
            points = {
                f"drift/hidden{layer}/{statistic}": sum(over_seeds) / len(over_seeds)
                for layer, statistics in enumerate(values, start=1)
                for statistic, over_seeds in zip(DRIFT_STATISTICS, statistics, strict=True)
            }
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.log_metrics(points, step=step)
        self._fresh = []

    def table(self) -> str:
        """Return CSV with one row for each number: seed, step, layer, statistic, value."""
        lines = ["seed,step,layer,statistic,value"]
        for step, layers in self._measurements:
            for layer, statistics in enumerate(layers, start=1):
                for statistic, values in zip(DRIFT_STATISTICS, statistics, strict=True):
                    cells = zip(self._seeds, values, strict=True)
                    lines += [f"{seed},{step},hidden{layer},{statistic},{value:.6g}" for seed, value in cells]
        return "\n".join([*lines, ""])

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the measurements so far, and the first means and standard deviations."""
        return {"looks": self._measurements, "origin": self._origin}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        try:
            self._measurements = [(step, values) for step, values in state_dict["looks"]]
            self._origin = [(mean, std) for mean, std in state_dict["origin"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("ckpt_path: the measurements of ActivationDrift in the checkpoint are damaged") from error
