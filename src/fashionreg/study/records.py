"""What a run leaves behind: plain files that any tool can read.

`record.csv` holds one row for each number, with the columns `seed`, `epoch` (from 1), `split` (train, val, test),
`metric` (loss in nats; acc and ece from 0 to 1) and `value`. `record.json` holds what they belong to.
"""

import csv
import io
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fashionreg.files import whole_file

COLUMNS = ("seed", "epoch", "split", "metric", "value")
PACKAGES = ("fashionreg", "torch", "lightning", "numpy")


@dataclass
class History:
    """The numbers of a run as they come in, one epoch after the other.

    Attributes:
        seeds: The S seeds.
        epochs: For each epoch, for each split and metric, the S values in the order of the seeds.
        seconds: Wall time of each epoch, evaluation included, for all replicas together.
    """

    seeds: list[int]
    epochs: list[dict[str, dict[str, list[float]]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, results: dict[str, dict[str, list[float]]], seconds: float) -> None:
        """Add the numbers of the next epoch."""
        self.epochs.append(results)
        self.seconds.append(seconds)

    def rows(self) -> list[tuple[int, int, str, str, float]]:
        """One `(seed, epoch, split, metric, value)` for each number."""
        return [
            (seed, epoch, split, metric, value)
            for epoch, results in enumerate(self.epochs, start=1)
            for split, metrics in results.items()
            for metric, values in metrics.items()
            for seed, value in zip(self.seeds, values, strict=True)
        ]


def write_record(folder: Path, history: History, about: dict[str, Any]) -> None:
    """Write `record.csv` and `record.json` into `folder`, each whole or not at all.

    Args:
        folder: The run's folder.
        history: The numbers.
        about: What they belong to, as plain data: name, status, configuration, dataset, ...
    """
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


def surroundings() -> dict[str, Any]:
    """Versions, machine and git commit, as plain data."""
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "git_commit": git_commit(Path(__file__).parent),
    }


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that holds `folder`, with `-dirty` if it has changes; None if there is no checkout."""
    command: Sequence[str] = ("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
