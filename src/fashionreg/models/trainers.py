"""Checks of a trainer, before the first step: its callbacks, its options and its data must fit S replicas."""

import math
from collections.abc import Iterable, Sequence

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
    WeightAveraging,
)

from fashionreg.errors import UserError
from fashionreg.models.schedulers import Interval
from fashionreg.regularizers.base import TrainingData
from fashionreg.text import counted


def check_averaging(callbacks: Iterable[Callback]) -> None:
    """Refuse Lightning's averages of weights.

    This comes before callbacks are set up: there they copy the whole model, which cannot be done with an open log.

    Args:
        callbacks: Those of a trainer, not set up yet.

    Raises:
        UserError: With the name of the callback.
    """
    for callback in callbacks:
        if isinstance(callback, StochasticWeightAveraging | WeightAveraging):
            raise UserError(
                f"{type(callback).__name__}: the results would be those of the weights before averaging; use the "
                "regularizer EMA (model.init_args.regularizers), whose average is evaluated, exported and kept in "
                "checkpoints"
            )


def check_trainer(trainer: Trainer, replicas: int, validated: bool) -> None:
    """Refuse callbacks and schedulers that select by test results, by missing metrics or by a mean over replicas.

    Args:
        trainer: At the start of training.
        replicas: Number of replicas S.
        validated: Whether the data have validation images.

    Raises:
        UserError: With the name of the callback or scheduler.
    """
    for watcher in [*trainer.callbacks, *trainer.lr_scheduler_configs]:  # type: ignore[attr-defined]
        monitor = str(getattr(watcher, "monitor", None))
        name = type(watcher).__name__.replace("LRSchedulerConfig", "lr_scheduler")
        if monitor.startswith("test/"):
            raise UserError(
                f"{name}: monitor {monitor!r} would select by test results; set data.init_args.val_size "
                "and monitor 'val/acc' or 'val/loss'"
            )
        if monitor.startswith("val/") and not validated:
            raise UserError(f"{name}: monitor {monitor!r} is not logged: val/* needs data.init_args.val_size")
        if isinstance(watcher, EarlyStopping) and replicas > 1:
            raise UserError(
                "EarlyStopping: would stop every seed by the mean over seeds; use one seed, or train to the end: "
                "the record has every epoch, and a study's report the best one by val"
            )


def length_of_run(trainer: Trainer, interval: Interval) -> float:
    """Return how many steps of the optimizer a run has, or how many epochs; infinite where it has no planned end."""
    # the images of a run are loaded, if they are not yet
    steps = trainer.estimated_stepping_batches
    if interval == "step" or steps == math.inf:
        return steps
    return math.ceil(steps / math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))


def check_data(trainer: Trainer, seeds: Sequence[int], smallest_batch: int) -> None:
    """Refuse data of other seeds, and batches of fewer images than the network needs.

    Args:
        trainer: At the start of training.
        seeds: Those of the model.
        smallest_batch: The fewest images that a step of the network needs.

    Raises:
        UserError: If seeds or batches do not fit.
    """
    given = getattr(trainer.datamodule, "seeds", seeds)  # type: ignore[attr-defined]
    if given != seeds:
        raise UserError(f"seeds: the model has {seeds}, the data {given}; both must be the same")
    smallest = getattr(getattr(trainer.train_dataloader, "sampler", None), "smallest_batch", None)
    if smallest is not None and smallest < smallest_batch:
        raise UserError(
            f"batch_size: the last batch of an epoch would hold {counted(smallest, 'image')}, and the network needs at "
            f"least {smallest_batch} (batch norm needs 2); choose another batch_size or number of training images"
        )


def training_data(trainer: Trainer, inputs: int, classes: int) -> TrainingData:
    """Return what a trainer's datamodule says about the images, for regularizers.

    Args:
        trainer: At the start of training.
        inputs: Number of inputs D of the network.
        classes: Number of classes K.
    """
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    image = getattr(datamodule, "image_shape", (inputs,))
    black, white = getattr(datamodule, "pixel_range", (0.0, 1.0))
    return TrainingData(tuple(image), classes, black, white)


def check_single_backward(trainer: Trainer, name: str) -> None:
    """Refuse what a hook `gradients` would not see: several batches in one step, and a scaled loss.

    Args:
        trainer: At the start of training.
        name: The regularizer with this hook.

    Raises:
        UserError: If the trainer accumulates gradients or scales the loss.
    """
    factors = [trainer.accumulate_grad_batches]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            factors += callback.scheduling.values()
    most = max(factors)
    if most > 1:
        raise UserError(
            f"trainer.accumulate_grad_batches: must be 1, as the hook gradients of regularizers.{name} chooses the "
            f"gradients of one batch; got {most}; use a larger batch_size"
        )
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise UserError(
            f"trainer.precision: {trainer.precision} scales the loss, and the hook gradients of regularizers.{name} "
            "would see scaled gradients; use bf16-mixed or 32-true"
        )
