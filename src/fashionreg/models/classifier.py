"""The base of the LightningModules: one step for every split, metrics per replica, optimizer from a factory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from fashionreg.errors import UserError
from fashionreg.models.checkpoints import check_same_network, is_plain
from fashionreg.models.independence import check_independent
from fashionreg.models.independent_step import check_independent_step
from fashionreg.models.metrics import EVALUATION_METRICS, TRAINING_METRICS, Totals
from fashionreg.models.networks import ReplicaNetwork, single_precision
from fashionreg.models.objective import Objective, StepLosses, cross_entropy, predicted, used_weights
from fashionreg.models.optimization import clip_each_replica, make_optimizer, make_scheduler
from fashionreg.models.optimizers import check_replica_wise
from fashionreg.models.schedulers import RunLength, Schedule
from fashionreg.models.trainers import (
    check_averaging,
    check_data,
    check_single_backward,
    check_trainer,
    length_of_run,
    training_data,
)
from fashionreg.randomness import Key, epoch_keys, fold_in
from fashionreg.regularizers.base import ComputeLogits, Regularizer, end_epoch, naming, show_data, with_hook

Batch = tuple[Tensor, Tensor]

#: Key under which a checkpoint carries the number of inputs and of classes of its network.
SHAPE_KEY = "fashionreg_shape"

#: The same in checkpoints of version 0.1, which do not say them: those of Fashion-MNIST.
FASHION_MNIST_SHAPE = (784, 10)

#: Key under which a checkpoint carries how numbers became inputs, float64 (2, R, D): shifts and scales of each seed, or
#: of all (R = 1). Absent where the inputs are pixels.
SCALING_KEY = "fashionreg_scaling"

#: Key under which a checkpoint says that its learning rates depend on how long its run was to be.
PLANNED_KEY = "fashionreg_planned"


class ModulesByName(nn.ModuleDict):
    """Modules under any name, that of a method (`half`, `train`) too; in a state dict as those of `nn.ModuleDict`."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module that is found by its name as a key, and not as an attribute."""
        self._modules[name] = module  # type: ignore[assignment]


class Classifier(LightningModule, ABC):
    """S networks trained side by side; the base of the models, which say what the network is.

    The network is built when the data are known (`build`), as these say how many inputs and classes it has.

    A batch is `(images, labels)`: images float `(S, B, D)` in training, one batch for each replica, or `(B, D)` shown
    to all replicas; labels int64 `(S, B)` or `(B,)`. The loss of a step is the sum over replicas of each one's mean
    loss and penalties, so that the gradient of a replica is what it would be alone.

    After each epoch `{split}/loss` and `{split}/acc` are logged as means over replicas, with more than one replica
    `{split}/acc_std` too (sample standard deviation). `train/*` are means over the training steps of the epoch,
    unless the datamodule evaluates `train` like the other splits: at the end of the epoch, in evaluation mode, with the
    calibration error `{split}/ece`.

    Args:
        regularizers: By name; the name is part of what seeds their random numbers.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the learning rate scheduler from the optimizer; see `Schedule`.
        seeds: The S seeds, in the order of the replicas.

    Attributes:
        network: The networks, with S replicas, once they are built.
        epoch_keys: int32 `(R, S, 2)`, the keys of this epoch for the R consumers of random numbers, if there are any.
        scaling: How numbers became inputs, where a checkpoint says it; see `SCALING_KEY`.
        rates: How the learning rate changes, once a run has begun; None where it does not.
        logs_itself: Whether metrics go to the loggers by `self.log`, whose x-axis is the step; `RunRecord` turns it off
            and logs by epoch.

    Raises:
        UserError: If a regularizer is none, or its name cannot be used.
    """

    network: ReplicaNetwork
    objective: Objective
    #: Number of inputs and of classes, once the network is built.
    shape: tuple[int, int] | None

    def __init__(
        self,
        regularizers: Mapping[str, Regularizer] | None,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        seeds: Sequence[int],
    ) -> None:
        super().__init__()
        self.regularizers = ModulesByName()
        for name, regularizer in (regularizers or {}).items():
            if not name.isidentifier():
                raise UserError(f"regularizers: {name!r} cannot be a name; use letters, digits and _, as in batch_norm")
            if name in ("linear", "relu"):
                raise UserError(
                    f"regularizers: {name!r} cannot be a name: layers of the network have it; choose another"
                )
            if not isinstance(regularizer, Regularizer):
                raise UserError(f"regularizers.{name}: must be a Regularizer, got {type(regularizer).__name__}")
            self.regularizers[name] = regularizer
        self.shape = None
        self.scaling: Tensor | None = None
        self.seeds = list(seeds)
        self.optimizer = optimizer
        self.lr_scheduler = None if lr_scheduler is None else Schedule(lr_scheduler)
        self.rates: str | None = None
        self._totals: dict[str, Totals] = {}
        self.epoch_keys: Tensor | None = None
        self._step: tuple[Batch, dict[str, Key]] | None = None
        self._evaluation: ExitStack | None = None
        self.logs_itself = True
        self.save_hyperparameters()
        # objects given in code are not plain data: a checkpoint with them could not be loaded with weights_only
        for name in ("optimizer", "lr_scheduler", "regularizers", "network"):
            if name in self.hparams and not is_plain(self.hparams[name]):
                del self.hparams[name]

    # -- network -------------------------------------------------------------------------------------------------

    @abstractmethod
    def make_network(self, inputs: int, classes: int, seeds: Sequence[int]) -> ReplicaNetwork:
        """Make one network for each seed, with initial parameters."""

    def build(self, inputs: int, classes: int) -> Self:
        """Make the network, and let the regularizers prepare for it; a second call must ask for the same shape.

        Raises:
            UserError: If the network was built for another shape.
        """
        if self.shape is not None:
            if self.shape != (inputs, classes):
                raise UserError(
                    f"data: has {inputs} inputs and {classes} classes; the network was built for {self.shape[0]} "
                    f"inputs and {self.shape[1]} classes"
                )
            return self
        self.shape = inputs, classes
        with single_precision():
            network = self.make_network(inputs, classes, self.seeds)
        self.network = network.to(torch.get_default_dtype())
        for name, regularizer in self.regularizers_by_name().items():
            with naming(name, "attach"):
                regularizer.attach(self.network, self.seeds)
        # not registered as a submodule, which would list every parameter a second time
        self.__dict__["objective"] = Objective(self.network, self.regularizers_by_name(), self.loss)
        self._after_step = with_hook(self.regularizers_by_name(), "after_step")
        return self

    def _network_with(self, name: str, regularizer: Regularizer, seeds: Sequence[int]) -> ReplicaNetwork:
        """Make another network, with the layers of `regularizer` in place of those of all regularizers."""
        assert self.shape is not None
        kept = self.regularizers
        self.regularizers = ModulesByName({name: regularizer})
        try:
            with single_precision():
                return self.make_network(*self.shape, seeds)
        finally:
            self.regularizers = kept

    def configure_model(self) -> None:
        """Build the network for the datamodule of the trainer, if it is not built yet."""
        if self.shape is not None:
            return
        try:
            datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        except RuntimeError:
            # without a trainer, as load_from_checkpoint calls it; on_load_checkpoint builds the network then
            return
        if datamodule is None:
            raise UserError("network: unknown number of inputs and classes; call model.build(inputs, classes) first")
        self.build(datamodule.inputs, len(datamodule.class_names))

    def configure_callbacks(self) -> list[Callback]:
        """Refuse averages of weights before they copy the model; add no callback."""
        check_averaging(self.trainer.callbacks)  # type: ignore[attr-defined]
        return []

    def regularizers_by_name(self) -> dict[str, Regularizer]:
        """Return the regularizers, in their order."""
        return dict(self.regularizers.items())  # type: ignore[arg-type]

    def describe(self) -> str:
        """Return a short description of network and regularizers: `784-64-32-10, batch norm, dropout 0.3`."""
        return ", ".join([self.network.describe(), *(one.describe() for one in self.regularizers_by_name().values())])

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, float `(S, B, K)`, in evaluation as regularizers change them."""
        compute: ComputeLogits = self.network
        if not self.network.training:
            for name, regularizer in with_hook(self.regularizers_by_name(), "predict").items():
                compute = partial(predicted, name, regularizer, compute)
        return compute(images)

    @torch.no_grad()
    def plain(self, index: int) -> nn.Module:
        """Return replica `index` as a plain module, `(B, D)` to `(B, K)`, that computes what is evaluated."""
        with self.evaluating() as networks:
            network = networks.replica(index)
        for name, regularizer in with_hook(self.regularizers_by_name(), "exported").items():
            with naming(name, "exported"):
                network = regularizer.exported(network, index)
        return network.eval()

    @contextmanager
    def evaluating(self) -> Iterator[ReplicaNetwork]:
        """Switch to evaluation mode and to the weights that regularizers evaluate; undo both afterwards."""
        training = self.network.training
        self.network.eval()
        try:
            with ExitStack() as stack:
                for name, regularizer in with_hook(self.regularizers_by_name(), "evaluating").items():
                    with naming(name, "evaluating"):
                        stack.enter_context(regularizer.evaluating(self.network))
                # of the weights that these have chosen
                stack.enter_context(self.with_used_weights())
                yield self.network
        finally:
            self.network.train(training)

    def with_used_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the network holds the weights that it uses, where these are computed from others.

        Those of the hooks `weights`, without random numbers and without averages: what observers of training show.
        """
        return used_weights(self.network, self.objective.weight_hooks)

    # -- steps ---------------------------------------------------------------------------------------------------

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each image in nats, float `(S, B)`, from logits `(S, B, K)` and labels or probabilities.

        Override it to train with another loss; the mean over images and the sum over replicas are computed elsewhere.
        """
        return cross_entropy(logits, targets)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the sum over replicas of the losses that they minimize."""
        keys: dict[str, Key] = {}
        if self.epoch_keys is not None:
            # one hash for the keys of all consumers: (R, S, 2)
            words = fold_in(self.epoch_keys, batch_idx).unbind()
            keys = {name: Key(row) for name, row in zip(self.objective.consumers, words, strict=True)}
        images, targets = batch
        if self.objective.gradient_hooks:
            self._step = ((images, targets), keys)
        losses: StepLosses = self.objective(images, targets, keys)
        labels = losses.targets.argmax(dim=-1) if losses.targets.is_floating_point() else losses.targets
        self._add("train", losses.losses, losses.logits, labels)
        return losses.total.sum()

    def backward(self, loss: Tensor) -> None:
        """Set the gradients: those of the loss, as changed by regularizers."""
        if not self.objective.gradient_hooks:
            loss.backward()
            return
        assert self._step is not None
        batch, keys = self._step
        context = self.trainer.precision_plugin.forward_context
        for name, gradient in self.objective.gradients(loss, *batch, keys, context).items():
            self.network.get_parameter(name).grad = gradient

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Call the optimizer, then the hooks `after_step` of the regularizers."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        """Call the hooks `after_step` of the regularizers."""
        for name, regularizer in self._after_step.items():
            with naming(name, "after_step"):
                regularizer.after_step(self.network)

    def _evaluation_step(self, batch: Batch, split: str) -> Tensor:
        """Compute the logits `(S, B, K)` of a batch, and add its metrics to those of `split`."""
        images, labels = batch
        logits: Tensor = self(images)
        labels = labels.expand(logits.shape[:2])
        self._add(split, self.loss(logits, labels).mean(dim=1), logits, labels)
        return logits

    def _add(self, split: str, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.totals(split).add(losses.detach(), logits.detach(), labels)

    def totals(self, split: str) -> Totals:
        """Return the sums of the metrics of a split in this epoch."""
        if split not in self._totals:
            evaluated = not self.training
            keeps_right = evaluated and split == "test"
            self._totals[split] = Totals(len(self.seeds), self.device, calibrated=evaluated, keeps_right=keeps_right)
        return self._totals[split]

    def right_answers(self) -> Tensor | None:
        """Return which test images each replica was right about in this epoch, bool `(S, N)`; None without any."""
        totals = self._totals.get("test")
        return None if totals is None or not totals.right else torch.cat(totals.right, dim=1)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add the batch to the totals of the split that the dataloader holds."""
        self._evaluation_step(batch, self._split_names(self.trainer.val_dataloaders, "val")[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Compute the logits, float `(S, B, K)`, for callbacks, and add the metrics of the batch."""
        return self._evaluation_step(batch, self._split_names(self.trainer.test_dataloaders, "test")[dataloader_idx])

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute class probabilities, float `(S, B, K)`; labels are ignored."""
        probabilities: Tensor = self(batch[0]).softmax(dim=-1)
        return probabilities

    @staticmethod
    def _split_names(loaders: Any, default: str) -> list[str]:
        return list(loaders) if isinstance(loaders, Mapping) else [default]

    # -- epochs --------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Refuse, before the first step, what would fail later or give wrong results.

        Raises:
            UserError: If the trainer selects by test metrics or by a metric that does not exist, if it changes what a
                hook `gradients` would not see, if batch norm would meet a batch of a single image, if a regularizer
                does not fit the data, or if it or a step of the user does not treat each replica as if it were alone.
        """
        if self.trainer.val_dataloaders is None:
            # Lightning makes them before the first epoch that is evaluated, which may be a later one
            self.trainer.validating = True
            self.trainer.fit_loop.epoch_loop.val_loop.setup_data()
            self.trainer.training = True
        loaders = self.trainer.val_dataloaders
        evaluated = self._split_names(loaders, "val") if loaders is not None else []
        check_trainer(self.trainer, len(self.seeds), "val" in evaluated)
        for name in self.objective.gradient_hooks:
            check_single_backward(self.trainer, name)
        check_data(self.trainer, self.seeds, self.network.smallest_batch)
        assert self.shape is not None
        data = training_data(self.trainer, *self.shape)
        for name, regularizer in with_hook(self.regularizers_by_name(), "attach_data").items():
            show_data(name, regularizer, data)
        self.check_regularizers(evaluated, every_epoch=self.trainer.check_val_every_n_epoch == 1)
        if self.automatic_optimization and not all(
            type(each).__module__.startswith("fashionreg.") for each in (self, self.network)
        ):
            check_independent_step(self, *self.shape)

    def check_regularizers(self, evaluated: Sequence[str], *, every_epoch: bool = True) -> None:
        """Try every hook of every regularizer.

        Args:
            evaluated: The splits that are evaluated after an epoch.
            every_epoch: Whether they are evaluated after every epoch.

        Raises:
            UserError: With the name of the regularizer and of the hook.
        """
        assert self.shape is not None
        running = [f"train/{name}" for name in TRAINING_METRICS]
        whole = running + [f"{split}/{name}" for split in evaluated if split != "test" for name in EVALUATION_METRICS]
        metrics = [[*dict.fromkeys(whole)]] if every_epoch else [running, [*dict.fromkeys(whole)]]
        for name, regularizer in self.regularizers_by_name().items():
            check_independent(name, regularizer, partial(self._network_with, name), *self.shape, metrics)

    def on_train_epoch_start(self) -> None:
        """Reset the metrics; make the keys of this epoch's random numbers."""
        self._totals = {}
        if consumers := self.objective.consumers:
            # each process of a distributed run sees other images and draws other numbers
            keys = fold_in(epoch_keys(self.seeds, consumers, self.current_epoch), self.global_rank)
            self.epoch_keys = keys.to(self.device)  # (R, S, 2)

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics of evaluated splits; those of training remain, unless `train` is evaluated too."""
        evaluated = {"val", "test", *self._split_names(self.trainer.val_dataloaders, "val")}
        self._totals = {split: totals for split, totals in self._totals.items() if split not in evaluated}
        self._start_evaluation()

    def on_test_epoch_start(self) -> None:
        """Reset the metrics."""
        self._totals = {}
        self._start_evaluation()

    def on_predict_epoch_start(self) -> None:
        """Switch to the weights that regularizers evaluate."""
        self._start_evaluation()

    def _start_evaluation(self) -> None:
        self._evaluation = ExitStack()
        self._evaluation.enter_context(self.evaluating())

    def _end_evaluation(self) -> None:
        if self._evaluation is not None:
            self._evaluation.close()
            self._evaluation = None

    def on_test_epoch_end(self) -> None:
        """Restore the training weights."""
        self._end_evaluation()

    def on_predict_epoch_end(self) -> None:
        """Restore the training weights."""
        self._end_evaluation()

    def results(self) -> dict[str, dict[str, Tensor]]:
        """Return for each split of this epoch the metrics of each replica, float `(S,)`; see `Totals.means`."""
        reduce = self.trainer.strategy.reduce
        return {
            split: {name: reduce(value, reduce_op="mean") for name, value in totals.means().items()}
            for split, totals in self._totals.items()
        }

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch; call `after_epoch` with all metrics but those of the test split."""
        self._log_means({"train"})
        if hooks := with_hook(self.regularizers_by_name(), "after_epoch"):
            seen = {
                f"{split}/{name}": values
                for split, metrics in self.results().items()
                if split != "test"
                for name, values in metrics.items()
            }
            for name, regularizer in hooks.items():
                end_epoch(name, regularizer, self.network, seen)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every split that was evaluated."""
        self._end_evaluation()
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
        """Build the network, if it is not; refuse a checkpoint of another one, in one line instead of one a parameter.

        Raises:
            UserError: If names or shapes of the parameters differ.
        """
        self.build(*checkpoint.get(SHAPE_KEY, FASHION_MNIST_SHAPE))
        self.scaling = checkpoint.get(SCALING_KEY)
        seeds = checkpoint["hyper_parameters"].get("seeds")
        if seeds is not None and list(seeds) != self.seeds:
            raise UserError(f"seeds: the checkpoint is of seeds {list(seeds)}, not {self.seeds}; leave out --seeds")
        check_same_network(self.state_dict(), checkpoint["state_dict"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the number of inputs and of classes, from which the network is built again, and how it may be resumed."""
        checkpoint[SHAPE_KEY] = self.shape
        if self.lr_scheduler is not None and self.lr_scheduler.follows_run:
            checkpoint[PLANNED_KEY] = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimizer and, if any, its scheduler.

        Raises:
            UserError: If the optimizer refuses its arguments, or if it or the scheduler would let replicas influence
                one another.
        """
        if len(self.seeds) > 1:
            check_replica_wise(self.optimizer)
        optimizer = make_optimizer(self.optimizer, self.network.parameters())
        if self.lr_scheduler is None:
            return optimizer
        try:
            run_length: RunLength | None = partial(length_of_run, self.trainer)
        except RuntimeError:
            # without a trainer, as for the state that a checkpoint must have
            run_length = None
        scheduler = make_scheduler(self.lr_scheduler, optimizer, len(self.seeds), run_length)
        self.rates = self.lr_scheduler.describe(scheduler["scheduler"])
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

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
        clip_each_replica(self.network.parameters(), gradient_clip_val)
