"""Everything that is timed: the baselines and `fashionreg fit`, each run once by a call that says how it went."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import fashionreg
from benchmarks import baselines

CONFIGS = Path(__file__).parents[1] / "configs"

#: The first epoch of every contender is not counted, as it includes reading the data and initialization.
WARM_UP_EPOCHS = 1


@dataclass(frozen=True)
class Work:
    """The task of every contender.

    Attributes:
        root: Folder that holds `FashionMNIST/raw`.
        epochs: Epochs to time, after `WARM_UP_EPOCHS` others.
        train_size: Training images, of all that there are.
        all_images: Training images that there are.
    """

    root: Path
    epochs: int
    train_size: int
    all_images: int

    @property
    def total_epochs(self) -> int:
        """Epochs that a contender trains."""
        return WARM_UP_EPOCHS + self.epochs


@dataclass(frozen=True)
class Outcome:
    """The result of one run.

    Attributes:
        seconds: Wall time of each timed epoch, its evaluation included.
        accuracies: Test accuracy after the last epoch, 0 to 1, of each seed.
        facts: Further facts for the results file: the CPU threads that a fit chose.
    """

    seconds: list[float]
    accuracies: list[float]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """One way to train.

    Attributes:
        name: For `--only` and the results file.
        label: For the table.
        run: Trains from the beginning; the number of the repeat is a seed.
        seeds: Networks that it trains at once.
        device: `cpu` or `cuda`.
        batch_norm: Whether it trains the network with batch norm.
        threads: CPU threads that it starts with, where they are not those that torch starts with.
        in_table: Whether it has a row in the table; the others are points of the figure.
        setting: Hidden width and number of training images, for the figure.
    """

    name: str
    label: str
    run: Callable[[Work, int], Outcome]
    seeds: int = 1
    device: str = "cpu"
    batch_norm: bool = True
    threads: int | None = None
    in_table: bool = True
    setting: tuple[int, int] | None = None


def baseline(name: str, label: str, train: Callable[..., list[float]], **options: Any) -> Contender:
    """Wrap a function of `benchmarks.baselines` with a timer that it calls after every epoch."""

    def run(work: Work, repeat: int) -> Outcome:
        train_size = None if work.train_size == work.all_images else work.train_size
        times = [time.perf_counter()]
        accuracies = train(
            work.root,
            work.total_epochs,
            lambda: times.append(time.perf_counter()),
            train_size=train_size,
            seed=repeat,
            device=options.get("device", "cpu"),
        )
        seconds = [end - start for start, end in pairwise(times)]
        return Outcome(seconds[WARM_UP_EPOCHS:], accuracies[-1:], {})

    return Contender(name, label, run, **options)


def fit(
    name: str,
    work: Work,
    seeds: int,
    *,
    label: str = "",
    config: str = "bn",
    device: str = "cpu",
    width: int = 64,
    train_size: int | None = None,
    in_table: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Contender:
    """Wrap `fashionreg fit`, run in this process as by its command line; its record has the time of each epoch.

    Args:
        name: As `Contender.name`.
        work: What all contenders are to do.
        seeds: For `--seeds`.
        label: As `Contender.label`.
        config: The file in `configs` to train.
        device: `cpu` or `cuda`.
        width: Of the first hidden layer; the second is half as wide.
        train_size: Training images, where they are not those of `work`.
        in_table: As `Contender.in_table`.
        options: Further options, by dotted names.
    """
    images = train_size or work.train_size

    def run(work: Work, repeat: int) -> Outcome:
        del repeat  # its seeds are always 0 to S - 1
        with tempfile.TemporaryDirectory() as folder:
            overrides: dict[str, Any] = {
                "name": "benchmark",
                "trainer.accelerator": "gpu" if device == "cuda" else device,
                "trainer.devices": 1,
                "trainer.max_epochs": work.total_epochs,
                "trainer.default_root_dir": folder,
                "data.init_args.root": str(work.root.absolute()),
            }
            if images != work.all_images:
                overrides["data.init_args.train_size"] = images
            if width != 64:
                overrides["model.init_args.hidden_sizes"] = [width, width // 2]
            with contextlib.redirect_stdout(io.StringIO()):
                trained = fashionreg.fit(CONFIGS / f"{config}.yaml", seeds, overrides | dict(options or {}))
            record, table = trained.record, trained.history
        final = table.query("split == 'test' and metric == 'acc' and epoch == @work.total_epochs")
        facts = {"threads": record.threads} if record.threads else {}
        return Outcome(record.epoch_seconds[WARM_UP_EPOCHS:], final.value.tolist(), facts)

    return Contender(
        name,
        label or name,
        run,
        seeds=seeds,
        device=device,
        batch_norm=config == "bn",
        in_table=in_table,
        setting=(width, images) if device == "cpu" and config == "bn" and not options else None,
    )


def all_contenders(work: Work, *, cuda: bool) -> list[Contender]:
    """Return the contenders of the table, then those of the figure only.

    Args:
        work: What all are to do.
        cuda: Whether to add those on a CUDA GPU.
    """
    lightning = "plain LightningModule (torchmetrics and self.log in every step)"
    contenders = [
        baseline("notebook", "the notebook's own loop", baselines.notebook),
        baseline("lightning", lightning, baselines.plain_lightning),
        baseline("bare", "bare PyTorch loop on resident tensors", baselines.bare_loop),
        baseline("bare-1-thread", "bare PyTorch loop, one CPU thread", baselines.bare_loop, threads=1),
        *(fit(f"fit-{s}", work, s, label=f"`fashionreg fit`, S = {s}", in_table=True) for s in (1, 10, 50)),
        baseline(
            "sklearn",
            "scikit-learn's MLPClassifier, **no batch norm**, no test per epoch",
            baselines.scikit_learn,
            batch_norm=False,
        ),
        fit(
            "fit-10-baseline",
            work,
            10,
            label="`fashionreg fit`, S = 10, **no batch norm**",
            config="baseline",
            in_table=True,
        ),
        fit(
            "fit-10-unwatched",
            work,
            10,
            label="`fashionreg fit`, S = 10, without the configuration's callbacks",
            in_table=True,
            options={"trainer.callbacks": None},
        ),
        fit(
            "fit-10-watched",
            work,
            10,
            label="`fashionreg fit`, S = 10, with those of the study too (ActivationDrift)",
            in_table=True,
            options={"trainer.callbacks+": [{"class_path": "fashionreg.callbacks.ActivationDrift"}]},
        ),
    ]
    if cuda:
        contenders += [
            baseline("notebook-cuda", "the notebook's own loop, moved to CUDA", baselines.notebook, device="cuda"),
            baseline("lightning-cuda", f"{lightning}, CUDA", baselines.plain_lightning, device="cuda"),
            baseline("bare-cuda", "bare PyTorch loop on resident tensors, CUDA", baselines.bare_loop, device="cuda"),
        ]
        contenders += [
            fit(f"fit-{s}-cuda", work, s, label=f"`fashionreg fit`, S = {s}, CUDA", device="cuda", in_table=True)
            for s in (1, 10, 100, 1000)
        ]
    contenders += [fit(f"fit-{s}", work, s) for s in (2, 5, 20)]
    for s in (1, 10):
        contenders += [fit(f"fit-{s}-width-{width}", work, s, width=width) for width in (16, 32, 128, 256)]
        for share in (0.1, 0.25, 0.5):
            images = round(share * work.train_size)
            contenders.append(fit(f"fit-{s}-images-{images}", work, s, train_size=images))
    return contenders
