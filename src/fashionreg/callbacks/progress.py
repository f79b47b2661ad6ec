"""The console: a heading and one line an epoch of a fit with a bar within long epochs, and how far a study is."""

import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from fashionreg.models.classifier import Classifier
from fashionreg.text import in_percent, named_seeds

#: Seconds between lines that say how far a study is, where nobody watches a bar.
QUIET = 10.0


class EpochSummary(Callback):
    """Print one line after every epoch, and a progress bar within epochs that take longer than a second."""

    def __init__(self) -> None:
        self._started = 0.0
        self._bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how the learning rate changes, if it does."""
        if trainer.is_global_zero and isinstance(pl_module, Classifier) and pl_module.rates:
            print(f"rates   {pl_module.rates}", flush=True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the bar."""
        self._started = time.perf_counter()
        if trainer.is_global_zero and sys.stderr.isatty():
            label = _epoch(trainer)
            self._bar = tqdm(total=int(trainer.num_training_batches), desc=label, unit="step", leave=False, delay=1)

    def needs_gradients(self, trainer: Trainer) -> bool:
        """Return that this callback never looks at the gradients of a step."""
        return False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's line."""
        self._close()
        if not trainer.is_global_zero or not isinstance(pl_module, Classifier):
            return
        cells = [_epoch(trainer)]
        for split, metrics in pl_module.results().items():
            cells.append(f"{split} loss {metrics['loss'].mean():.4f} acc {in_percent(metrics['acc'])}")
        seconds = time.perf_counter() - self._started
        cells.append(f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s")
        print("   ".join(cells), flush=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _epoch(trainer: Trainer) -> str:
    """Format the running epoch and, unless only steps or time limit the fit, the number of epochs."""
    count = trainer.current_epoch + 1
    last = trainer.max_epochs
    return f"epoch {count}" if last in (None, -1) else f"epoch {count:{len(str(last))}}/{last}"


class StudyProgress(Callback):
    """Say which variant and epoch a study is at, and how long it still takes: a bar on terminals, lines elsewhere.

    Args:
        study: Name of the study.
        epochs: Epochs of all runs that are still to be done.
    """

    def __init__(self, study: str, epochs: int) -> None:
        self._study = study
        self._epochs = epochs
        self._done = 0
        self._where = ""
        self._started = self._said = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"
            self._bar = tqdm(total=epochs, leave=False, bar_format=layout)

    def start(self, where: str) -> None:
        """Name the variant that comes next."""
        self._where = where

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch."""
        self._done += 1
        now = time.monotonic()
        where = f"{self._study}: {self._where}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        if self._bar is not None:
            self._bar.set_description_str(where, refresh=False)
            self._bar.update()
        elif now - self._said >= QUIET:
            self._said = now
            left = (now - self._started) / self._done * (self._epochs - self._done)
            print(f"  {where}, about {left:.0f} s left", flush=True)

    def say(self, line: str) -> None:
        """Print a line without harm to the bar."""
        tqdm.write(line) if self._bar is not None else print(line, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def heading(trainer: Trainer, model: Classifier, data: dict[str, Any], name: str, *, compiled: bool) -> str:
    """Return the lines that describe model, data, seeds and device before training.

    Args:
        trainer: The trainer.
        model: The model.
        data: As `ImageDataModule.describe` returns it.
        name: Name of the run.
        compiled: Whether the training step is compiled.
    """
    sizes = ", ".join(f"{split} {count:,}" for split, count in data["sizes"].items())
    replicas = len(model.seeds)
    parameters = sum(parameter.numel() for parameter in model.parameters()) // replicas
    device = trainer.strategy.root_device
    detail = {
        "cpu": lambda: f", threads {torch.get_num_threads()}",
        "cuda": lambda: f", {torch.cuda.get_device_name(device)}",
    }
    threads = detail.get(device.type, str)()
    side_by_side = f" ({len(model.seeds)} side by side)" if len(model.seeds) > 1 else ""
    return "\n".join(
        (
            f"run     {name}",
            f"model   {type(model).__name__} {model.describe()} ({parameters:,} parameters)",
            f"data    {data['source']} ({sizes}{'; each seed has its own split' * bool(data['by_seed'])})",
            f"seeds   {named_seeds(model.seeds)}{side_by_side}",
            f"device  {device}{threads}{', compiled' * compiled}",
        )
    )
