"""Lightning's training loop with a shortcut: straight from batch to optimizer step.

A step of these networks is so small that Lightning's bookkeeping, the same for every model, is as long as the step: the
optimizer step goes through closure, strategy and precision plugin, and every hook of module and callbacks is looked up,
named and called, the empty ones too (see `benchmarks/README.md`).
"""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from fashionreg.models.classifier import Classifier

#: Hooks of the module, and of the datamodule where it has them, within a step; the shortcut calls none of them.
OWN_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "optimizer_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "optimizer_step",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)

#: Hooks of callbacks within a step that the shortcut does not call either.
CALLBACK_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward")


class DirectEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a shortcut where that gives the same results.

    The shortcut is taken with one device, full precision, no gradient accumulation and no profiler, and when neither
    the module nor a callback has a hook that it leaves out. Otherwise, and in the first step after a resume, the step
    is Lightning's. Counters, logging, schedulers, gradient clipping, validation and
    callbacks' `on_train_batch_start`, `on_before_optimizer_step` and `on_train_batch_end` are Lightning's in both ways.

    The module's `training_step(batch, batch_idx)` must return the loss as a tensor.
    """

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Put this loop in place of Lightning's."""
        loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, loop.min_steps, loop.max_steps)

    def on_run_start(self, data_fetcher: Any) -> None:
        """Decide whether the steps of this epoch take the shortcut."""
        super().on_run_start(data_fetcher)
        callbacks: list[Callback] = self.trainer.callbacks
        self._direct = self._is_same(callbacks)
        hooks = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")
        self._heard = {hook: _listeners(callbacks, hook) for hook in hooks}

    def _is_same(self, callbacks: list[Callback]) -> bool:
        trainer, module = self.trainer, self.trainer.lightning_module
        datamodule = trainer.datamodule
        return (
            type(trainer.strategy) is SingleDeviceStrategy
            and type(trainer.precision_plugin) is Precision
            and type(trainer.profiler) is PassThroughProfiler
            and module.automatic_optimization
            and trainer.accumulate_grad_batches == 1
            and not self.automatic_optimization._skip_backward
            and isinstance(module, Classifier)
            and not any(_overrides(module, Classifier, hook) for hook in OWN_HOOKS)
            and not any(_overrides(datamodule, LightningDataModule, hook) for hook in OWN_HOOKS)
            and not any(_listeners(callbacks, hook) for hook in CALLBACK_HOOKS)
        )

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch."""
        if self.restarting or not self._direct:
            super().advance(data_fetcher)
            return
        trainer, module, progress = self.trainer, self.trainer.lightning_module, self.batch_progress
        optimizer, counts = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if batch[0].device != module.device:
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        self._tell("on_train_batch_start", batch, batch_idx)
        progress.increment_started()
        loss: Tensor | None = None

        def closure() -> Tensor:
            nonlocal loss
            module._current_fx_name = "training_step"
            loss = module.training_step(batch, batch_idx)
            module._current_fx_name = None
            counts.zero_grad.increment_ready()
            counts.zero_grad.increment_started()
            optimizer.zero_grad()
            counts.zero_grad.increment_completed()
            module.backward(loss)
            self._tell("on_before_optimizer_step", optimizer)
            module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return loss

        counts.step.increment_ready()
        optimizer.step(closure)
        module.after_step()
        counts.step.increment_completed()
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        assert loss is not None
        self._tell("on_train_batch_end", {"loss": loss.detach()}, batch, batch_idx)
        trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        trainer._logger_connector.update_train_step_metrics()

    def _tell(self, hook: str, *args: Any) -> None:
        """Call the callbacks that have this hook; within it they may log."""
        if listeners := self._heard[hook]:
            trainer, module = self.trainer, self.trainer.lightning_module
            module._current_fx_name = hook
            for listener in listeners:
                listener(trainer, module, *args)
            module._current_fx_name = None


def _overrides(instance: object, base: type, hook: str) -> bool:
    own = getattr(instance, hook, None)
    return callable(own) and getattr(own, "__func__", own) is not getattr(base, hook, None)


def _listeners(callbacks: list[Callback], hook: str) -> list[Callable[..., None]]:
    return [getattr(callback, hook) for callback in callbacks if _overrides(callback, Callback, hook)]


class EpochCheckpoint(ModelCheckpoint):
    """A `ModelCheckpoint` that saves only at the end of epochs and does nothing after a step."""

    on_train_batch_end = None  # type: ignore[assignment]

    @property
    def state_key(self) -> str:
        """The key in checkpoints, which differs from that of a `ModelCheckpoint` that a user adds."""
        return type(self).__name__

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the state: a resumed run writes to another folder, and must not remove files of the earlier one."""
