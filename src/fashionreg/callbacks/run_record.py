"""Write the record of a fit: its configuration, its metrics, its hyperparameters."""

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
from fashionreg.models.classifier import SCALING_KEY, Classifier
from fashionreg.runs.checkpoint import CONFIG_KEY, DATA_KEY
from fashionreg.runs.contents import CLASSES_KEY
from fashionreg.runs.correct import packed
from fashionreg.runs.record import History, environment, read_history, write_record
from fashionreg.yaml_files import parse_yaml

#: Group of TensorBoard's tags for the curves of single seeds.
EVERY_SEED = "test_acc_by_seed"


class Recorded(Callback):
    """A callback with a table that is written beside the record when the fit ends."""

    #: Name of the file, without `.csv`.
    table_name: str

    def table(self) -> str:
        """Return the table so far, as CSV."""
        raise NotImplementedError


class RunRecord(Callback):
    """Write `config.yaml`, `record.csv`, `record.json` and `correct.npy`, and fill TensorBoard's text and HParams tabs.

    Every checkpoint contains the metrics so far and the configuration, so that the record and curves of a resumed run
    are complete and a checkpoint can be used without its configuration file.

    Args:
        folder: The run's folder.
        about: Metadata of the run, as plain data: its `name`, `data` as `ImageDataModule.describe` returns it, the
            resolved `config` as YAML text, and further entries for the record.
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
        """Start the timer."""
        self._started = time.perf_counter()

    def needs_gradients(self, trainer: Trainer) -> bool:
        """Return that this callback never looks at the gradients of a step."""
        return False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop after the last step, so that the network is evaluated also where `max_steps` ends within an epoch."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's metrics to the history and to the curves, whose x-axis is the epoch, from 1."""
        assert isinstance(pl_module, Classifier)
        assert self._history is not None
        results = {
            split: {metric: values.tolist() for metric, values in metrics.items()}
            for split, metrics in pl_module.results().items()
        }
        right = pl_module.right_answers()
        # a limit of batches leaves images out: which ones is nowhere recorded
        whole = right is not None and right.shape[1] == self._about["data"]["sizes"].get("test")
        kept = packed(right.cpu().numpy()) if right is not None and whole else []
        self._history.add(results, time.perf_counter() - self._started, kept)
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
        """Write the record of the epochs so far, where possible; the last checkpoint contains it too."""
        status = "interrupted" if isinstance(exception, KeyboardInterrupt | SystemExit) else "failed"
        # on a full disk this fails as well, and must not hide the exception that ended the fit
        with suppress(UserError):
            self._write(trainer, status)

    def _write(self, trainer: Trainer, status: str) -> None:
        if trainer.is_global_zero and self._history is not None and self._history.epochs:
            about = self._about | {"status": status, "device": str(trainer.strategy.root_device)}
            # only the loop of `training` compiles steps
            compiled = getattr(trainer.fit_loop.epoch_loop, "compiled_steps", 0)
            about |= {"threads": torch.get_num_threads(), "compiled_steps": compiled} | environment()
            about["rates"] = getattr(trainer.lightning_module, "rates", None)
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, Recorded):
                    with whole_file(self._folder / f"{callback.table_name}.csv") as file:
                        file.write(callback.table().encode())
            write_record(self._folder, self._history, about)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration, and the fingerprints and classes of the data into the checkpoint."""
        checkpoint[CONFIG_KEY] = self._config
        checkpoint[DATA_KEY] = dict(self._about["data"]["fingerprints"])
        data = trainer.datamodule  # type: ignore[attr-defined]
        checkpoint[CLASSES_KEY] = list(data.class_names)
        if data.splits.scaling is not None:
            checkpoint[SCALING_KEY] = data.splits.scaling

    def state_dict(self) -> dict[str, Any]:
        """Return the metrics so far."""
        return vars(self._history) if self._history is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the numbers of a checkpoint."""
        self._history = read_history(state_dict)


def _points(results: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Return the points of an epoch by tag: means over seeds and, with several seeds, the spread of accuracy."""
    points = {
        f"{split}/{metric}": fmean(values) for split, metrics in results.items() for metric, values in metrics.items()
    }
    spread = {
        f"{split}/acc_std": stdev(metrics["acc"]) for split, metrics in results.items() if len(metrics["acc"]) > 1
    }
    return points | spread


def _overlays(splits: Iterable[str]) -> dict[str, dict[str, list[str | list[str]]]]:
    """Return the layout of TensorBoard's Custom Scalars tab: one chart of accuracy and one of loss, of all splits."""
    # TensorBoard matches a tag as a pattern at the beginning: train/acc without $ would draw train/acc_std too
    return {
        "all splits": {
            title: ["Multiline", [f"{split}/{metric}$" for split in splits]]
            for title, metric in (("accuracy", "acc"), ("loss", "loss"))
        },
        "every seed": {"test accuracy": ["Multiline", [f"{EVERY_SEED}/"]]},
    }


def _every_seed(seeds: list[int], results: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Return the test accuracy of each seed by tag, in a separate group; nothing with a single seed."""
    if len(seeds) == 1:
        return {}
    accuracies = results.get("test", {}).get("acc", [])
    return {f"{EVERY_SEED}/{seed}": value for seed, value in zip(seeds, accuracies, strict=False)}


def _flat(value: Any, prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten nested hyperparameters to `optimizer/weight_decay: 0.0001`, in the types that TensorBoard takes."""
    if isinstance(value, dict):
        # leave out the levels `class_path` and `init_args`: the names of class and arguments suffice
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
    # logger.log_hyperparams would log each metric a second time; TensorBoard finds the curves by their tags
    for summary in hparams(parameters, metrics):
        logger.experiment.file_writer.add_summary(summary)
