"""What a fit leaves behind besides TensorBoard's events: its configuration, its numbers, its hyperparameters."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from fashionreg.errors import UserError
from fashionreg.files import whole_file
from fashionreg.models.classifier import Classifier
from fashionreg.runs.checkpoint import CONFIG_KEY
from fashionreg.runs.record import History, read_history, surroundings, write_record
from fashionreg.yaml_files import parse_yaml

#: Group of TensorBoard's tags for the curves of single seeds.
EVERY_SEED = "test_acc_by_seed"


class Recorded(Callback):
    """A callback whose own numbers belong to the record: they are written beside it when the fit ends."""

    #: Name of the file, without `.csv`.
    table_name: str

    def table(self) -> str:
        """The numbers so far, as CSV."""
        raise NotImplementedError


class RunRecord(Callback):
    """Writes `config.yaml`, `record.csv` and `record.json`, and fills TensorBoard's text and HParams tabs.

    The numbers so far and the configuration travel in every checkpoint, so that a resumed run's record and curves
    are whole and a checkpoint can be used without its configuration file.

    Args:
        folder: The run's folder.
        about: What the record says of the run, as plain data: its `name`, what `ImageDataModule.describe` says of the
            `data`, the resolved `config` as YAML text, and whatever else belongs to it.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self._folder = folder
        self._config: str = about["config"]
        self._about = about | {"config": parse_yaml(self._config, "configuration")}
        self._history: History | None = None
        self._started = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the configuration; after a resume, draw the curves from the beginning."""
        assert isinstance(pl_module, Classifier)
        pl_module.logs_itself = False
        if self._history is None:
            self._history = History(pl_module.seeds)
        if not trainer.is_global_zero:
            return
        with whole_file(self._folder / "config.yaml") as file:
            file.write(self._config.encode())
        for epoch, results in enumerate(self._history.epochs, start=1):
            for logger in trainer.loggers:
                logger.log_metrics(_points(results) | _every_seed(self._history.seeds, results), step=epoch)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                about = {key: value for key, value in self._about["data"].items() if key != "fingerprints"}
                logger.experiment.add_text("run", f"**{self._about['name']}**: trained on {about}")
                logger.experiment.add_text("config", f"```yaml\n{self._config}\n```")
                logger.experiment.add_custom_scalars(_overlays(self._about["data"]["sizes"]))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Have the network evaluated after its last step, also where `max_steps` ends the fit within an epoch."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's numbers, and add them to the curves: the x-axis is the epoch, from 1."""
        assert isinstance(pl_module, Classifier)
        assert self._history is not None
        results = {
            split: {metric: values.tolist() for metric, values in metrics.items()}
            for split, metrics in pl_module.results().items()
        }
        self._history.add(results, time.perf_counter() - self._started)
        for logger in trainer.loggers:
            points = _points(results) | _every_seed(self._history.seeds, results)
            logger.log_metrics(points, step=len(self._history.epochs))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the record; log every hyperparameter with the final metrics."""
        self._write(trainer, "finished")
        if self._history is None or not self._history.epochs:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                _log_hyperparameters(logger, trainer, pl_module, _points(self._history.epochs[-1]))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the record of what was done so far, where it can be written; the last checkpoint holds it too."""
        status = "interrupted" if isinstance(exception, KeyboardInterrupt | SystemExit) else "failed"
        # on a full disk this fails as well; what ended the fit is what there is to say
        with suppress(UserError):
            self._write(trainer, status)

    def _write(self, trainer: Trainer, status: str) -> None:
        if trainer.is_global_zero and self._history is not None and self._history.epochs:
            about = self._about | {"status": status, "device": str(trainer.strategy.root_device)}
            about |= {"threads": torch.get_num_threads()} | surroundings()
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, Recorded):
                    with whole_file(self._folder / f"{callback.table_name}.csv") as file:
                        file.write(callback.table().encode())
            write_record(self._folder, self._history, about)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration into the checkpoint."""
        checkpoint[CONFIG_KEY] = self._config

    def state_dict(self) -> dict[str, Any]:
        """The numbers so far."""
        return vars(self._history) if self._history is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the numbers of a checkpoint."""
        self._history = read_history(state_dict)


def _points(results: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """What an epoch adds to the curves: means over seeds by tag, and with several seeds the spread of accuracy."""
    points = {
        f"{split}/{metric}": fmean(values) for split, metrics in results.items() for metric, values in metrics.items()
    }
    spread = {
        f"{split}/acc_std": stdev(metrics["acc"]) for split, metrics in results.items() if len(metrics["acc"]) > 1
    }
    return points | spread


def _overlays(splits: Iterable[str]) -> dict[str, dict[str, list[str | list[str]]]]:
    """The layout of TensorBoard's Custom Scalars tab: the splits' curves in one chart of accuracy and one of loss."""
    # each tag is a pattern that only has to match the beginning: train/acc would draw train/acc_std too
    return {
        "all splits": {
            title: ["Multiline", [f"{split}/{metric}$" for split in splits]]
            for title, metric in (("accuracy", "acc"), ("loss", "loss"))
        },
        "every seed": {"test accuracy": ["Multiline", [f"{EVERY_SEED}/"]]},
    }


def _every_seed(seeds: list[int], results: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """The test accuracy of every single seed, where there are several, in a group of its own."""
    if len(seeds) == 1:
        return {}
    accuracies = results.get("test", {}).get("acc", [])
    return {f"{EVERY_SEED}/{seed}": value for seed, value in zip(seeds, accuracies, strict=False)}


def _flat(value: Any, prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested hyperparameters as `optimizer/weight_decay: 0.0001`, in the types that TensorBoard takes."""
    if isinstance(value, dict):
        # the two levels of `class_path` and `init_args` say nothing that the name and its arguments do not
        inner = value.get("init_args") or {} if "class_path" in value else value
        named = {prefix: value["class_path"].rpartition(".")[2]} if "class_path" in value else {}
        return named | {
            key: flat
            for name, item in inner.items()
            for key, flat in _flat(item, f"{prefix}/{name}".strip("/")).items()
        }
    return {prefix: value if isinstance(value, bool | int | float | str) else str(value)}


def _log_hyperparameters(
    logger: TensorBoardLogger, trainer: Trainer, pl_module: LightningModule, metrics: dict[str, float]
) -> None:
    from torch.utils.tensorboard.summary import hparams

    own = {key: value for key, value in pl_module.hparams.items() if not key.startswith("_")}
    data = {} if trainer.datamodule is None else dict(trainer.datamodule.hparams)  # type: ignore[attr-defined]
    data = {key: value for key, value in data.items() if not key.startswith("_")}
    parameters = {"model": type(pl_module).__name__} | _flat(own) | _flat(data) | {"max_epochs": trainer.max_epochs}
    # logger.log_hyperparams would log each metric a second time; the tab finds the curves by their names
    for summary in hparams(parameters, metrics):
        logger.experiment.file_writer.add_summary(summary)
