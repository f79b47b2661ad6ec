"""What a run leaves behind: plain files that any tool can read.

`record.csv` holds one row for each number, with the columns `seed`, `epoch` (from 1), `split` (train, val, test),
`metric` (loss in nats; acc and ece from 0 to 1) and `value`. `record.json` holds what they belong to. `correct.npy`
holds which test images each seed is right about after the last epoch, if all were evaluated (see `runs.correct`).
"""

import csv
import io
import json
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fashionreg.errors import MAX_SEED, shortened
from fashionreg.files import whole_file
from fashionreg.runs.correct import check_packed, write_correct
from fashionreg.runs.schema import Between, SchemaError, build, read_json

#: What a column holds: whole numbers from 0 (`int`), numbers that may be NaN or infinite (`float`), or texts.
Column = type[int] | type[float] | tuple[str, ...] | re.Pattern[str]

Metric = Literal["acc", "loss", "ece"]
Split = Literal["train", "val", "test"]
METRICS: tuple[str, ...] = get_args(Metric)
SPLITS: tuple[str, ...] = get_args(Split)
COLUMNS: dict[str, Column] = {"seed": int, "epoch": int, "split": SPLITS, "metric": METRICS, "value": float}

#: Percentiles of a unit's input, as in figure 1 of Ioffe and Szegedy (2015).
PERCENTILES = (15, 50, 85)
DRIFT_STATISTICS = (
    *(f"p{percentile}" for percentile in PERCENTILES),
    *("mean_drift", "std_drift", "dead", "gradient_norm"),
)
DRIFT_COLUMNS: dict[str, Column] = {
    "seed": int,
    "step": int,
    "layer": re.compile("hidden[0-9]{1,4}"),
    "statistic": DRIFT_STATISTICS,
    "value": float,
}
PACKAGES = ("fashionreg", "torch", "lightning", "numpy")


#: How long an epoch can be, in seconds: 30 years.
MAX_SECONDS = 1e9

Seed = Annotated[int, Between(0, MAX_SEED)]


@dataclass(frozen=True)
class DataDescription:
    """What `ImageDataModule.describe` says of the images.

    Attributes:
        source: Where they are from.
        sizes: Number of images of each split.
        fingerprints: `LabelledImages.fingerprint` of each split; where it is by seed, of seed 0, trained or not.
        by_seed: The splits of which each seed has its own images.
    """

    source: str
    sizes: dict[str, Annotated[int, Between(0)]]
    fingerprints: dict[str, str]
    by_seed: list[Split] = field(default_factory=list)

    def __post_init__(self) -> None:
        if missing := sorted(self.sizes.keys() - self.fingerprints.keys()):
            raise SchemaError(f"data.fingerprints.{missing[0]}: is missing")


@dataclass(frozen=True)
class Record:
    """What `record.json` holds, and its schema; keys with a default are missing in some records.

    Attributes:
        name: Name of the run.
        data: The images.
        config: The resolved configuration.
        status: Whether the fit came to its end.
        seeds: The seeds that were trained side by side.
        epoch_seconds: Wall time of each epoch, evaluation included, for all seeds together.
        device: Where it was trained.
        versions: Of Python and packages.
        machine: System and processor.
        git_commit: Commit of the checkout, if there was one.
        threads: CPU threads.
        compiled_steps: How many training steps were compiled, since the fit began or was resumed.
        rates: How the learning rate changed: its scheduler, with the lengths that it was given by the run.
        study: The study that the run belongs to.
        key: In a study: a digest of the configuration and of the data; see `Variant.key`.
    """

    name: str
    data: DataDescription
    config: dict[str, Any]
    status: Literal["finished", "interrupted", "failed"]
    seeds: list[Seed]
    epoch_seconds: list[Annotated[float, Between(0, MAX_SECONDS)]]
    device: str
    versions: dict[str, str]
    machine: dict[str, str]
    git_commit: str | None
    threads: Annotated[int, Between(1)] | None = None
    compiled_steps: Annotated[int, Between(0)] | None = None
    rates: str | None = None
    study: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if not self.epoch_seconds:
            raise SchemaError("epoch_seconds: is empty")

    @property
    def rows(self) -> int:
        """How many rows `record.csv` has at most."""
        return len(self.seeds) * len(self.epoch_seconds) * len(SPLITS) * len(METRICS)


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse a list of seeds that is empty, or in which a seed appears twice."""
    if not seeds:
        raise SchemaError("seeds: is empty")
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise SchemaError(f"seeds: {twice[0]} appears twice")


def read_about(folder: Path) -> Record:
    """Read and check the `record.json` of a run.

    Raises:
        UserError: With file and key, if something is missing, unknown or cannot be.
    """
    return read_json(folder / "record.json", Record, "record")


@dataclass
class History:
    """The numbers of a run as they come in, one epoch after the other.

    Attributes:
        seeds: The S seeds.
        epochs: For each epoch, for each split and metric, the S values in the order of the seeds.
        seconds: Wall time of each epoch, evaluation included, for all replicas together.
        right: For each seed which test images it is right about after the last epoch, as `packed` writes it; empty if
            not all of them were evaluated.
    """

    seeds: list[Seed]
    epochs: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    seconds: list[Annotated[float, Between(0)]] = field(default_factory=list)
    right: list[str] = field(default_factory=list)

    def add(self, results: dict[str, dict[str, list[float]]], seconds: float, right: Sequence[str] = ()) -> None:
        """Add the numbers of the next epoch."""
        self.epochs.append(results)
        self.seconds.append(seconds)
        self.right = list(right)

    def rows(self) -> list[tuple[int, int, str, str, float]]:
        """Return one `(seed, epoch, split, metric, value)` for each number."""
        return [
            (seed, epoch, split, metric, value)
            for epoch, results in enumerate(self.epochs, start=1)
            for split, metrics in results.items()
            for metric, values in metrics.items()
            for seed, value in zip(self.seeds, values, strict=True)
        ]


def read_history(data: Any) -> History:
    """Check the numbers of a run as a checkpoint holds them.

    Raises:
        SchemaError: With the key, if they are not those of a run: for every epoch the same splits and metrics, for each
            one value for every seed, from 0 to 1 or, for a loss, from 0.
    """
    history: History = build(History, data)
    check_seeds(history.seeds)
    if len(history.seconds) != len(history.epochs):
        raise SchemaError(f"seconds: must have a value for each of {len(history.epochs)} epochs")
    check_packed(history.right, len(history.seeds))
    for number, results in enumerate(history.epochs):
        names = {split: set(metrics) for split, metrics in results.items()}
        if names != {split: set(metrics) for split, metrics in history.epochs[0].items()}:
            raise SchemaError(f"epochs[{number}]: must have the splits and metrics of the first epoch")
        for split, metrics in results.items():
            for metric, values in metrics.items():
                key = f"epochs[{number}].{shortened(split)}.{shortened(metric)}"
                if split not in SPLITS or metric not in METRICS:
                    raise SchemaError(f"{key}: unknown")
                if not isinstance(values, list) or len(values) != len(history.seeds):
                    raise SchemaError(f"{key}: must have a value for each of {len(history.seeds)} seeds")
                for value in values:
                    # a run that diverges has losses that are infinite or NaN
                    if not isinstance(value, float) or value < 0 or (metric != "loss" and value > 1):
                        raise SchemaError(f"{key}: cannot be {shortened(value)}")
    return history


def write_record(folder: Path, history: History, about: dict[str, Any]) -> None:
    """Write `record.csv`, `record.json` and, where it is known, `correct.npy` into `folder`, each whole or not at all.

    Args:
        folder: The run's folder.
        history: The numbers.
        about: What they belong to, as plain data: name, status, configuration, dataset, ...
    """
    if history.right:
        write_correct(folder, history.right)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    # enough digits to give back every float32, and every share of images, so that equal differences are seen as equal
    writer.writerows((*row[:-1], f"{row[-1]:.15g}") for row in history.rows())
    with whole_file(folder / "record.csv") as file:
        file.write(text.getvalue().encode())
    meta = about | {"seeds": history.seeds, "epoch_seconds": [round(seconds, 4) for seconds in history.seconds]}
    with whole_file(folder / "record.json") as file:
        file.write(json.dumps(meta, indent=2).encode() + b"\n")


def environment() -> dict[str, Any]:
    """Return versions, machine and git commit, as plain data."""
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "git_commit": git_commit(Path(__file__).parent),
    }


def git_commit(folder: Path) -> str | None:
    """Return the commit of the checkout around `folder`, with `-dirty` if it has changes; None without a checkout."""
    command: Sequence[str] = ("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
