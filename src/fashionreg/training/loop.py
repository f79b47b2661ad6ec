"""Lightning's training loop with a shortcut: straight from batch to optimizer step.

A step of these networks is so small that Lightning's bookkeeping, the same for every model, is as long as the step: the
optimizer step goes through closure, strategy and precision plugin, and every hook of module and callbacks is looked up,
named and called, the empty ones too (see `benchmarks/README.md`).
"""

import sys
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from fashionreg.data.batches import IndexedBatch, TrainingImages
from fashionreg.models.classifier import Classifier
from fashionreg.training.step import CompiledStep, can_compile, is_of_compiler

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
    the module nor a callback has a hook that it leaves out. Otherwise the step is Lightning's. Counters, logging,
    schedulers, gradient clipping, validation and callbacks' `on_train_batch_start`, `on_before_optimizer_step` and
    `on_train_batch_end` are Lightning's in both ways. The shortcut alone can be compiled.

    The module's `training_step(batch, batch_idx)` must return the loss as a tensor.
    """

    #: Whether to compile the steps that take the shortcut.
    compiling = False
    _step: CompiledStep | None = None

    @classmethod
    def install(cls, trainer: Trainer, *, compiling: bool = False) -> None:
        """Put this loop in place of Lightning's."""
        loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = own = cls(trainer, loop.min_steps, loop.max_steps)
        own.compiling = compiling

    def on_run_start(self, data_fetcher: Any) -> None:
        """Decide whether the steps of this epoch take the shortcut, and whether they are compiled."""
        super().on_run_start(data_fetcher)
        module = self.trainer.lightning_module
        callbacks: list[Callback] = self.trainer.callbacks
        self._direct = self._is_same(callbacks)
        optimizers = self.trainer.optimizers
        if self.compiling and self._direct and self._step is None and can_compile(module, optimizers[0]):
            self._step = CompiledStep(module, optimizers[0])
        dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        if isinstance(dataset, TrainingImages):
            dataset.by_index = self._step is not None and self._direct
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
        if not self._direct or (self.restarting and self._should_check_val_fx(data_fetcher)):
            super().advance(data_fetcher)
            return
        trainer, module, progress = self.trainer, self.trainer.lightning_module, self.batch_progress
        optimizer, counts = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if not isinstance(batch, IndexedBatch) and batch[0].device != module.device:
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        self._tell("on_train_batch_start", batch, batch_idx)
        progress.increment_started()
        loss: Tensor | None = None

        def closure() -> Tensor:
            nonlocal loss
            loss = self._gradients(batch, batch_idx)
            self._tell("on_before_optimizer_step", optimizer)
            module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return loss

        counts.step.increment_ready()
        if self._step is None:
            optimizer.step(closure)
        else:
            closure()
            self._compiled(CompiledStep.update, optimizer.step)
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

    def _gradients(self, batch: Any, batch_idx: int) -> Tensor:
        """Set the gradients of a batch and return the loss."""
        module, optimizer = self.trainer.lightning_module, self.trainer.optimizers[0]
        counts = self.automatic_optimization.optim_progress.optimizer.zero_grad
        counts.increment_ready()
        counts.increment_started()
        optimizer.zero_grad()
        counts.increment_completed()

        def ordinary() -> Tensor:
            module._current_fx_name = "training_step"
            loss: Tensor = module.training_step(batch, batch_idx)
            module._current_fx_name = None
            module.backward(loss)
            return loss

        if self._step is None or not isinstance(batch, IndexedBatch) or not self._step.takes(batch):
            return ordinary()
        loss: Tensor = self._compiled(lambda step: step.gradients(batch, batch_idx), ordinary)
        return loss

    def _compiled(self, call: Callable[[CompiledStep], Any], ordinary: Callable[[], Any]) -> Any:
        """Call the compiled step; where it cannot be compiled, say so once and go on without."""
        if self._step is not None:
            try:
                return call(self._step)
            except Exception as error:
                if not is_of_compiler(error):
                    raise
                print(f"compile: {str(error).strip().splitlines()[0]}; training goes on without it", file=sys.stderr)
                self._step, self.compiling = None, False
        return ordinary()

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
