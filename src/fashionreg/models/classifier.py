"""The base of the LightningModules: one step for every split, metrics per replica, optimizer from a factory."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.models.optimizers import check_replica_wise
from fashionreg.randomness import fold_in, replica_keys

Batch = tuple[Tensor, Tensor]


#: Bins of equal width in which confidence and accuracy are compared.
CALIBRATION_BINS = 15


class Totals:
    """Loss, correct answers and calibration of each replica, summed on the device: no synchronisation in a step.

    Args:
        replicas: Number of replicas S.
        device: Where the logits are.
        calibrated: Whether to compare confidence with accuracy; for evaluation, since it costs as much as all else.
    """

    def __init__(self, replicas: int, device: torch.device, *, calibrated: bool) -> None:
        self._loss = torch.zeros(replicas, device=device)
        self._correct = torch.zeros(replicas, dtype=torch.int64, device=device)
        self._excess = torch.zeros(replicas, CALIBRATION_BINS, device=device) if calibrated else None
        self._count = 0

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: mean losses `(S,)`, logits `(S, B, K)`, labels `(S, B)` or `(B,)`."""
        batch = logits.shape[1]
        correct = logits.argmax(dim=-1) == labels
        self._loss += losses * batch
        self._correct += correct.sum(dim=-1)
        self._count += batch
        if self._excess is not None:
            confidence = logits.softmax(dim=-1).amax(dim=-1).to(self._excess.dtype)
            # an output that is no number has no bin; its error is no number either, wherever it is counted
            bins = (confidence * CALIBRATION_BINS).long().clamp_(0, CALIBRATION_BINS - 1)
            self._excess.scatter_add_(1, bins, confidence - correct.to(confidence.dtype))

    def means(self) -> dict[str, Tensor]:
        """`loss` (nats), `acc` (0 to 1) and, if calibrated, `ece` (0 to 1), each `(S,)`, over all images added.

        `acc` is float64 on the CPU, the very share of images: equal differences between seeds are to be seen as equal.

        `ece` is the expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean over images of the
        distance between mean confidence and accuracy in the image's bin.
        """
        means = {"loss": self._loss / self._count, "acc": self._correct.cpu().double() / self._count}
        if self._excess is not None:
            means["ece"] = self._excess.abs().sum(dim=1) / self._count
        return means


class Classifier(LightningModule):
    """S networks trained side by side; the base of the models, which say what the network is.

    A batch is `(images, labels)`: images float `(S, B, D)` in training, one batch for each replica, or `(B, D)` shown
    to all replicas; labels int64 `(S, B)` or `(B,)`. The loss of a step is the sum over replicas of each one's mean
    cross entropy, so that the gradient of a replica is what it would be alone.

    After each epoch `{split}/loss` and `{split}/acc` are logged as means over replicas, with more than one replica
    `{split}/acc_std` too (sample standard deviation). `train/*` are means over the epoch's own steps (dropout on,
    weights moving), unless the datamodule has `train` evaluated as the others are: at the epoch's end, with the
    calibration error `{split}/ece`.

    Args:
        network: The networks, with S replicas.
        seeds: The S seeds, in the order of the replicas.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the learning rate scheduler, stepped after each epoch, from the optimizer.

    Attributes:
        logs_itself: Whether metrics go to the loggers by `self.log`, whose x-axis is the step; `RunRecord` turns it off
            and logs by epoch.
    """

    def __init__(
        self,
        network: MLP,
        seeds: Sequence[int],
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.seeds = list(seeds)
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self._totals: dict[str, Totals] = {}
        self._epoch_keys: Tensor | None = None
        self.logs_itself = True
        self.save_hyperparameters(ignore=["network"])
        # factories given in code are not plain data: a checkpoint with them could not be loaded with weights_only
        for name in ("optimizer", "lr_scheduler"):
            if callable(self.hparams.get(name)):
                del self.hparams[name]

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Logits float `(S, B, K)`; see `MLP.forward`."""
        logits: Tensor = self.network(images, keys)
        return logits

    # -- steps ---------------------------------------------------------------------------------------------------

    def _shared_step(self, batch: Batch, split: str, keys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The losses `(S,)` and logits `(S, B, K)` of a batch, added to the totals of `split`."""
        images, labels = batch
        logits = self(images, keys)
        replicas, count, classes = logits.shape
        labels = labels.expand(replicas, count)
        losses = F.cross_entropy(logits.reshape(-1, classes), labels.reshape(-1), reduction="none")
        losses = losses.view(replicas, count).mean(dim=1)
        if split not in self._totals:
            self._totals[split] = Totals(replicas, logits.device, calibrated=not self.training)
        self._totals[split].add(losses.detach(), logits.detach(), labels)
        return losses, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum over replicas of their mean losses."""
        keys = None if self._epoch_keys is None else fold_in(self._epoch_keys, batch_idx)
        losses, _ = self._shared_step(batch, "train", keys)
        return losses.sum()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds the batch to the totals of the split that the dataloader holds."""
        self._shared_step(batch, self._split_names(self.trainer.val_dataloaders, "val")[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits float `(S, B, K)`, for callbacks that report on them."""
        split = self._split_names(self.trainer.test_dataloaders, "test")[dataloader_idx]
        return self._shared_step(batch, split)[1]

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities float `(S, B, K)`; the labels are not looked at."""
        probabilities: Tensor = self(batch[0]).softmax(dim=-1)
        return probabilities

    @staticmethod
    def _split_names(loaders: Any, default: str) -> list[str]:
        return list(loaders) if isinstance(loaders, Mapping) else [default]

    # -- epochs --------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Refuse, before the first step, what would end badly or unfairly later.

        Raises:
            UserError: If something is selected by test metrics or by a metric that does not exist, or if batch norm
                would meet a batch of a single image.
        """
        validated = "val" in self._split_names(self.trainer.val_dataloaders, "val")
        watchers = [*self.trainer.callbacks, *self.trainer.lr_scheduler_configs]  # type: ignore[attr-defined]
        for watcher in watchers:
            monitor = str(getattr(watcher, "monitor", None))
            name = type(watcher).__name__.replace("LRSchedulerConfig", "lr_scheduler")
            if monitor.startswith("test/"):
                raise UserError(
                    f"{name}: monitor {monitor!r} would select by test results; set data.init_args.val_size "
                    "and monitor 'val/acc' or 'val/loss'"
                )
            if monitor.startswith("val/") and not validated:
                raise UserError(f"{name}: monitor {monitor!r} is not logged: val/* needs data.init_args.val_size")
            if isinstance(watcher, EarlyStopping) and len(self.seeds) > 1:
                raise UserError(
                    "EarlyStopping: would stop every seed by the mean over seeds; use one seed, or train to the end: "
                    "the record has every epoch, and a study's report the best one by val"
                )
        seeds = getattr(self.trainer.datamodule, "seeds", self.seeds)  # type: ignore[attr-defined]
        if seeds != self.seeds:
            raise UserError(f"seeds: the model has {self.seeds}, the data {seeds}; both must be the same")
        smallest = getattr(getattr(self.trainer.train_dataloader, "sampler", None), "smallest_batch", None)
        if self.network.batch_norm and smallest == 1:
            raise UserError(
                "batch_size: the last batch of an epoch would hold a single image, and batch norm needs at least two; "
                "choose another batch_size or number of training images"
            )

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's numbers; make the keys of this epoch's dropout masks."""
        self._totals = {}
        if self.network.dropout > 0:
            # each process of a distributed run sees other images and draws other masks
            keys = fold_in(replica_keys(self.seeds, "dropout", self.current_epoch), self.global_rank)
            self._epoch_keys = keys.to(self.device)

    def on_validation_epoch_start(self) -> None:
        """Forget earlier evaluations of this epoch; the training totals go on, unless `train` is evaluated too."""
        evaluated = {"val", "test", *self._split_names(self.trainer.val_dataloaders, "val")}
        self._totals = {split: totals for split, totals in self._totals.items() if split not in evaluated}

    def on_test_epoch_start(self) -> None:
        """Forget earlier evaluations."""
        self._totals = {}

    def results(self) -> dict[str, dict[str, Tensor]]:
        """For each split seen in this epoch the metrics of each replica, float `(S,)`; see `Totals.means`."""
        reduce = self.trainer.strategy.reduce
        return {
            split: {name: reduce(value, reduce_op="mean") for name, value in totals.means().items()}
            for split, totals in self._totals.items()
        }

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_means({"train"})

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every split that was evaluated."""
        if not self.trainer.sanity_checking:
            self._log_means(self._totals.keys() - {"train"})

    def _log_means(self, splits: Set[str]) -> None:
        logged: dict[str, Tensor | float] = {}
        for split, metrics in self.results().items():
            if split in splits:
                logged |= {f"{split}/{name}": values.mean().float() for name, values in metrics.items()}
                if len(self.seeds) > 1:
                    logged[f"{split}/acc_std"] = metrics["acc"].std().float()
        self.log_dict(logged, logger=self.logs_itself and bool(self.trainer.loggers))

    # -- optimization --------------------------------------------------------------------------------------------

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another network, in one line instead of one for each parameter.

        Raises:
            UserError: If names or shapes of the parameters differ.
        """
        seeds = checkpoint["hyper_parameters"].get("seeds")
        if seeds is not None and list(seeds) != self.seeds:
            raise UserError(f"seeds: the checkpoint is of seeds {list(seeds)}, not {self.seeds}; leave out --seeds")
        own = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        saved = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
        differing = sorted(name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name))
        if differing:
            name = differing[0]
            there, here = saved.get(name, "absent"), own.get(name, "absent")
            raise UserError(
                f"ckpt_path: the checkpoint is of another network or other seeds: {name} is {there} there and "
                f"{here} here; without --config and --seeds its own are used"
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and, where there is one, its scheduler.

        Raises:
            UserError: If the optimizer refuses its arguments, or if it or the scheduler would let replicas influence
                one another.
        """
        several = len(self.seeds) > 1
        if several:
            check_replica_wise(self.optimizer)
        try:
            optimizer = self.optimizer(self.parameters())
        except (ValueError, TypeError) as error:
            raise UserError(f"optimizer: {error}") from error
        if self.lr_scheduler is None:
            return optimizer
        try:
            scheduler = self.lr_scheduler(optimizer)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise UserError(f"lr_scheduler: {error}") from error
        if not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        if several:
            raise UserError(
                "lr_scheduler: ReduceLROnPlateau would set the learning rate of every seed by the mean over seeds; "
                "use one seed, or a scheduler that follows the epoch"
            )
        return {
            "optimizer": optimizer,
            # Lightning's subclass takes a monitor; torch's own class does not
            "lr_scheduler": {"scheduler": scheduler, "monitor": getattr(scheduler, "monitor", "train/loss")},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each replica by its own norm, as `torch.nn.utils.clip_grad_norm_` does for one."""
        if gradient_clip_val is None:
            return
        if gradient_clip_val < 0:
            raise UserError(f"trainer.gradient_clip_val: must not be negative, got {gradient_clip_val}")
        if not gradient_clip_val or gradient_clip_algorithm == "value":
            # element by element already
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        scale = (gradient_clip_val / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
