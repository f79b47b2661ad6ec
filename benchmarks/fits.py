"""`fashionreg fit` as a contender, eager and compiled."""

import contextlib
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

import fashionreg
from benchmarks.work import CONFIGS, WARM_UP_EPOCHS, Contender, Outcome, Work, Workload
from fashionreg.callbacks.run_record import Recorded
from fashionreg.cli import main

#: Epochs of lecture 7's 4,800 images for each of the study's 60,000: one is too short to time.
LECTURE7_EPOCHS = 10

#: Images of lecture 7's CSV file, of which four fifths are for training.
LECTURE7_IMAGES = 6000


class EvaluationTimer(Recorded):
    """Write the seconds of each evaluation to `evaluation.csv`; no hook within a step, so that the step is the same."""

    table_name = "evaluation"

    def __init__(self) -> None:
        self._started = 0.0
        self._seconds: list[float] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer."""
        self._started = _now()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the time."""
        self._seconds.append(_now() - self._started)

    def table(self) -> str:
        """Return the seconds, one evaluation a line."""
        return "".join(f"{seconds}\n" for seconds in self._seconds)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # otherwise what is still to be computed would count for what comes next
    return time.perf_counter()


def cut_lecture7(work: Work, path: Path) -> None:
    """Cut lecture 7's CSV file from the data, as its configuration says; a trial's is smaller."""
    size = str(min(LECTURE7_IMAGES, work.train_size))
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["data", "subset", "--size", size, "--seed", "0", "--root", str(work.root), "--out", str(path)])
    if code:
        raise RuntimeError(f"fashionreg data subset ended with {code}")


def fit(
    name: str,
    work: Work,
    seeds: int,
    *,
    compiled: bool = False,
    label: str = "",
    config: str = "bn",
    device: str = "cpu",
    width: int = 64,
    train_size: int | None = None,
    in_table: bool = False,
    callbacks: Sequence[Mapping[str, Any]] | None = (),
    options: Mapping[str, Any] | None = None,
) -> Contender:
    """Wrap `fashionreg fit`, run in this process as by its command line; its record has the time of each epoch.

    Args:
        name: As `Contender.name`.
        work: What all contenders are to do.
        seeds: For `--seeds`.
        compiled: For `--compile`.
        label: As `Contender.label`.
        config: The file in `configs` to train; lecture 7's are trained on its CSV file.
        device: `cpu` or `cuda`.
        width: Of the first hidden layer; the second is half as wide.
        train_size: Training images, where they are not those of `work`.
        in_table: As `Contender.in_table`.
        callbacks: Added to those of the configuration, besides `EvaluationTimer`; None for no callbacks at all.
        options: Further options, by dotted names.
    """
    images = train_size or work.train_size
    workload: Workload = "lecture 7" if config.startswith("lecture7") else "batch norm study"

    def run(work: Work, repeat: int) -> Outcome:
        del repeat  # its seeds are always 0 to S - 1
        # a point of the figure is measured in one repeat, so that it needs more epochs
        times = (LECTURE7_EPOCHS if workload == "lecture 7" else 1) * (1 if in_table else 3)
        epochs = WARM_UP_EPOCHS + times * work.epochs
        with tempfile.TemporaryDirectory() as folder:
            overrides: dict[str, Any] = {
                "name": "benchmark",
                "compile": compiled,
                "trainer.accelerator": "gpu" if device == "cuda" else device,
                "trainer.devices": 1,
                "trainer.max_epochs": epochs,
                "trainer.default_root_dir": folder,
            }
            if callbacks is None:
                overrides["trainer.callbacks"] = None
            else:
                timer = {"class_path": f"{EvaluationTimer.__module__}.{EvaluationTimer.__qualname__}"}
                overrides["trainer.callbacks+"] = [timer, *callbacks]
            if workload == "lecture 7":
                overrides["data.init_args.path"] = str(Path(folder, "lecture7.csv"))
                cut_lecture7(work, Path(folder, "lecture7.csv"))
            else:
                overrides["data.init_args.root"] = str(work.root.absolute())
                if images != work.all_images:
                    overrides["data.init_args.train_size"] = images
            if width != 64:
                overrides["model.init_args.hidden_sizes"] = [width, width // 2]
            with contextlib.redirect_stdout(io.StringIO()):
                trained = fashionreg.fit(CONFIGS / f"{config}.yaml", seeds, overrides | dict(options or {}))
            record, table, timed = trained.record, trained.history, trained.folder / "evaluation.csv"
            evaluation = [float(line) for line in timed.read_text().split()] if callbacks is not None else []
        # a point of the figure is compared after as many epochs as the others
        last = epochs if workload == "lecture 7" else work.total_epochs
        final = table.query(f"split == 'test' and metric == 'acc' and epoch == {last}")
        return Outcome(
            record.epoch_seconds[WARM_UP_EPOCHS:],
            final.value.tolist(),
            {"threads": record.threads} if record.threads else {},
            evaluation[WARM_UP_EPOCHS:],
        )

    return Contender(
        name,
        label or name,
        run,
        seeds=seeds,
        device=device,
        batch_norm=config in ("bn", "lecture7"),
        workload=workload,
        in_table=in_table,
        compiled=compiled,
        setting=(width, images) if device == "cpu" and config == "bn" and callbacks == () and not options else None,
    )
