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
from fashionreg.text import counted
from fashionreg.training.step import CompiledStep, is_of_compiler, obstacle

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

#: Hooks of callbacks within a step that the shortcut calls.
STEP_HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")

#: Hooks of callbacks within a step that the shortcut does not call.
CALLBACK_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward")

#: Most compiled steps in a row before control returns to Lightning, which handles signals.
MOST_UNINTERRUPTED = 1000


class DirectEpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a shortcut where that gives the same results.

    The shortcut is taken with one device, full precision, no gradient accumulation and no profiler, and when neither
    the module nor a callback has a hook that it leaves out. Otherwise the step is Lightning's. Counters, logging,
    schedulers, gradient clipping, validation and callbacks' `on_train_batch_start`, `on_before_optimizer_step` and
    `on_train_batch_end` are Lightning's in both ways.

    In each epoch the first and the last step are ordinary: the first creates the state of the optimizer, and with the
    last, whose batch may be smaller, Lightning does what ends an epoch. Those between them can be compiled. A compiled
    step leaves no gradients. A callback with a hook in `STEP_HOOKS` that sometimes needs them says so by a method
    `needs_gradients(trainer)`, and that step is not compiled; with one that does not say it, none is.

    The module's `training_step(batch, batch_idx)` must return the loss as a tensor.
    """

    #: Whether steps are to be compiled where they can be: until the compiler fails.
    wanted = False
    #: How many steps of this fit were compiled.
    compiled_steps = 0
    _told: tuple[str, ...] = ()
    _compiling = False
    _step: CompiledStep | None = None

    @classmethod
    def install(cls, trainer: Trainer, *, compiling: bool = False) -> None:
        """Put this loop in place of Lightning's."""
        loop = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = own = cls(trainer, loop.min_steps, loop.max_steps)
        own.wanted = compiling

    def on_run_start(self, data_fetcher: Any) -> None:
        """Decide whether the steps of this epoch take the shortcut, and whether they are compiled."""
        super().on_run_start(data_fetcher)
        callbacks: list[Callback] = self.trainer.callbacks
        self._direct = self._is_same(callbacks)
        self._listeners = {hook: _listeners_to(callbacks, hook) for hook in STEP_HOOKS}
        listening = [one for one in callbacks if any(_overrides(one, Callback, hook) for hook in STEP_HOOKS)]
        self._with_needs_gradients = [one for one in listening if hasattr(one, "needs_gradients")]
        # those of Lightning look at no gradients
        self._without_needs_gradients = [
            one
            for one in listening
            if one not in self._with_needs_gradients and not type(one).__module__.startswith("lightning.")
        ]
        dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        why = self._obstacle(dataset) if self.wanted else None
        if why is not None:
            self._tell_once(why)
        self._compiling = self.wanted and why is None
        if self._compiling and self._step is not None and not self._step.is_valid(self._clipping):
            self._step = None
        if isinstance(dataset, TrainingImages):
            dataset.by_index = self._compiling

    @property
    def _clipping(self) -> tuple[float | None, str | None]:
        return self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm

    def _obstacle(self, dataset: Any) -> str | None:
        """Return why no step can be compiled; None if one can."""
        if not self._direct:
            return "precision, profiler, gradient accumulation or a hook within the step need the ordinary one"
        if not isinstance(dataset, TrainingImages):
            return "the datamodule has training batches that are not fetched by an index"
        if self._without_needs_gradients:
            return f"{type(self._without_needs_gradients[0]).__name__} takes part in every step"
        trainer = self.trainer
        check, batches = trainer.val_check_batch, trainer.num_training_batches
        if trainer.check_val_every_n_epoch is None or check is None or check < batches:
            return "evaluation within an epoch (trainer.val_check_interval) needs ordinary steps"
        steps = int(batches if self.max_steps == -1 else min(batches, self.max_steps))
        if steps <= 2:
            return f"the first and the last step of an epoch are ordinary, and an epoch has {counted(steps, 'step')}"
        return obstacle(trainer.lightning_module, trainer.optimizers[0])

    def _tell_once(self, why: str) -> None:
        """Say why steps are not compiled; the same reason only once in a fit."""
        if why not in self._told:
            print(f"compile: {why}; training goes on without it", file=sys.stderr)
            self._told += (why,)

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
            and not any(_listeners_to(callbacks, hook) for hook in CALLBACK_HOOKS)
        )

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch."""
        if not self._direct or (self.restarting and self._should_check_val_fx(data_fetcher)):
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        for _ in range(self._uninterrupted_steps()):
            self._take_step(data_fetcher, uninterrupted=True)
            if self.trainer.should_stop:
                return  # Lightning ends this step, and the fit
            self._batches_that_stepped += 1
        self._take_step(data_fetcher, uninterrupted=False)

    def _uninterrupted_steps(self) -> int:
        """Return how many of the next steps end nothing: no epoch, no fit and no interval between evaluations."""
        done = self.batch_progress.current.ready
        if not self._compiling or not done:
            return 0
        left = self.trainer.num_training_batches - done
        if self.max_steps != -1:
            left = min(left, self.max_steps - self.global_step)
        return min(int(left) - 1, MOST_UNINTERRUPTED)

    def _take_step(self, data_fetcher: Any, *, uninterrupted: bool) -> None:
        """Train on the next batch.

        Args:
            data_fetcher: Lightning's.
            uninterrupted: Whether it is one of `_uninterrupted_steps`, which can be compiled and in which nothing is
                logged.
        """
        trainer, module, progress = self.trainer, self.trainer.lightning_module, self.batch_progress
        if uninterrupted:
            batch = _next_batch(data_fetcher)
        else:
            batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if not isinstance(batch, IndexedBatch) and batch[0].device != module.device:
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        if not uninterrupted:
            trainer._logger_connector.on_batch_start(batch)
        self._call_callbacks("on_train_batch_start", batch, batch_idx)
        progress.increment_started()
        loss = self._compiled_step(batch, batch_idx) if uninterrupted else None
        if loss is None:
            loss = self._ordinary_step(batch, batch_idx)
        progress.increment_processed()
        if trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call_callbacks("on_train_batch_end", {"loss": loss.detach()}, batch, batch_idx)
        if not uninterrupted:
            trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        if not uninterrupted:
            trainer._logger_connector.update_train_step_metrics()

    def _ordinary_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Compute gradients, then let the optimizer use them; return the loss."""
        trainer, module, optimizer = self.trainer, self.trainer.lightning_module, self.trainer.optimizers[0]
        counts = self.automatic_optimization.optim_progress.optimizer
        losses: list[Tensor] = []

        def closure() -> Tensor:
            counts.zero_grad.increment_ready()
            counts.zero_grad.increment_started()
            optimizer.zero_grad()
            counts.zero_grad.increment_completed()
            module._current_fx_name = "training_step"
            loss: Tensor = module.training_step(batch, batch_idx)
            losses.append(loss)
            module._current_fx_name = None
            module.backward(loss)
            self._call_callbacks("on_before_optimizer_step", optimizer)
            module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return loss

        counts.step.increment_ready()
        optimizer.step(closure)
        module.after_step()
        counts.step.increment_completed()
        return losses[-1]

    def _compiled_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Do the same in one compiled step; None where this one is not to be compiled, or cannot be."""
        trainer = self.trainer
        if not self._compiling or any(one.needs_gradients(trainer) for one in self._with_needs_gradients):
            return None
        try:
            if self._step is None:
                self._step = CompiledStep(trainer.lightning_module, trainer.optimizers[0], self._clipping)
            if not self._step.accepts(batch):
                return None
            loss: Tensor = self._step(batch, batch_idx)
        except Exception as error:
            if self.compiled_steps or not is_of_compiler(error):
                raise
            self._tell_once(reason(error))
            self._step, self.wanted, self._compiling = None, False, False
            return None
        self.compiled_steps += 1
        counts = self.automatic_optimization.optim_progress.optimizer
        counts.zero_grad.increment_ready()
        counts.zero_grad.increment_started()
        counts.zero_grad.increment_completed()
        counts.step.increment_ready()
        counts.step.increment_completed()
        return loss

    def _call_callbacks(self, hook: str, *args: Any) -> None:
        """Call the callbacks that have this hook; within it they may log."""
        if listeners := self._listeners[hook]:
            trainer, module = self.trainer, self.trainer.lightning_module
            # not `module._current_fx_name = hook`: the search of `nn.Module.__setattr__` for tensors and modules takes
            # a notable part of the time of a small step
            attributes = vars(module)
            attributes["_current_fx_name"] = hook
            for listener in listeners:
                listener(trainer, module, *args)
            attributes["_current_fx_name"] = None


def reason(error: Exception) -> str:
    """Return the type of an error and the first line of its message, if it has one."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _next_batch(data_fetcher: Any) -> Any:
    """Return the next batch straight from the DataLoader, or from Lightning where it keeps its iterator elsewhere.

    What Lightning has around it takes longer than to draw a batch of indices.
    """
    try:
        iterator = data_fetcher.iterator._iterator.iterators[0]
    except (AttributeError, IndexError, TypeError):
        batch, _, _ = next(data_fetcher)
        return batch
    batch = next(iterator)
    data_fetcher.fetched += 1
    return batch


def _overrides(instance: object, base: type, hook: str) -> bool:
    own = getattr(instance, hook, None)
    return callable(own) and getattr(own, "__func__", own) is not getattr(base, hook, None)


def _listeners_to(callbacks: list[Callback], hook: str) -> list[Callable[..., None]]:
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
