"""The work that is disturbed: small commands with all that they need, how a user goes on, and what must come out."""

import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stress.process import Ended, run
from stress.promises import must, must_be_one_line, newest_record

CONFIG = """\
name: small
model:
  class_path: fashionreg.models.RegularizedMLP
  init_args:
    hidden_sizes: [8]
    batch_norm: true
    dropout: 0.2
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}
data:
  class_path: fashionreg.data.datamodules.SyntheticDataModule
  init_args: {train_size: 60, test_size: 20, batch_size: 20}
trainer: {max_epochs: EPOCHS, accelerator: cpu}
"""
STUDY = """\
name: small
seeds: 3
shared: [config.yaml]
variants:
  plain: [{model: {init_args: {dropout: 0.0}}}]
  dropout: [{model: {init_args: {dropout: 0.3}}}]
  rate: [{model: {init_args: {optimizer: {init_args: {lr: 0.05}}}}}]
"""
STUDY_FOLDER = Path("logs/studies/small")
CHECKPOINT = Path("logs/small/version_0/checkpoints/last.ckpt")
FIT = ["fit", "--config", "config.yaml", "--seeds", "3"]


@dataclass(frozen=True)
class Work:
    """A command that can be disturbed.

    Attributes:
        arguments: The arguments of `fashionreg`.
        prepare: Writes into an empty folder what the command needs.
        go_on: Does what a user would do afterwards, until the work is done.
        result: What must be the same as if nothing had happened.
    """

    arguments: list[str]
    prepare: Callable[[Path], None]
    go_on: Callable[[Path], None]
    result: Callable[[Path], object]


def succeed(arguments: list[str], place: Path) -> Ended:
    """Run a command that must succeed."""
    ended = run(arguments, place)
    must(ended.code == 0, f"fashionreg {' '.join(arguments)}: exit code {ended.code}: {ended.err[-1500:]}")
    return ended


def write_configs(place: Path, epochs: int = 40) -> None:
    """Write `config.yaml`, and `study.yaml` that builds on it."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.yaml").write_text(CONFIG.replace("EPOCHS", str(epochs)))
    (place / "study.yaml").write_text(STUDY)


def write_fashion_mnist(root: Path, count: int = 200) -> None:
    """Write the four files of Fashion-MNIST with random images, a tenth of them of each class."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + generator.bytes(count * 784)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">II", 0x801, count) + bytes(number % 10 for number in range(count))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


def go_on_fitting(place: Path) -> None:
    """Go on from the last checkpoint; where there is none, start anew."""
    ended = run(["fit", "--name", "small", "--ckpt_path", "last"], place)
    if ended.code == 0:
        return
    must_be_one_line(ended.err)
    if "to go on from" in ended.err:
        succeed(FIT, place)
    else:
        must("nothing is left to do" in ended.err, ended.err)


def study_numbers(place: Path) -> dict[str, bytes]:
    """The table of a study's results, and the record of each variant."""
    folder = place / STUDY_FOLDER
    records = {name: newest_record(folder / name) for name in ("plain", "dropout", "rate")}
    return records | {"results": (folder / "results.csv").read_bytes()}


def report_files(place: Path) -> dict[str, bytes]:
    """Every file of a report: equal records make equal bytes."""
    folder = place / STUDY_FOLDER
    paths = [*folder.glob("report.*"), folder / "results.csv", *folder.glob("figures/*")]
    return {path.name: path.read_bytes() for path in paths}


def all_work(templates: Path) -> dict[str, Work]:
    """Every kind of work by its name, after what it builds on was made in `templates`."""
    done = templates / "done"
    write_configs(done)
    write_fashion_mnist(done / "data")
    succeed(FIT, done)
    succeed(["study", "study.yaml"], done)
    # the images that are classified
    succeed(["data", "subset", "--size", "100", "--out", "images.csv"], done)

    def copy(*paths: Path) -> Callable[[Path], None]:
        def prepare(place: Path) -> None:
            write_configs(place)
            for path in paths:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (done / path).is_dir() else shutil.copy2)(done / path, place / path)

        return prepare

    def again(arguments: list[str]) -> Callable[[Path], None]:
        def go_on(place: Path) -> None:
            succeed(arguments, place)

        return go_on

    def file(name: str) -> Callable[[Path], object]:
        return lambda place: (place / name).read_bytes()

    study, report = ["study", "study.yaml"], ["report", str(STUDY_FOLDER)]
    predict = ["predict", "--ckpt_path", str(CHECKPOINT), "--images", "images.csv", "--out", "predictions.csv"]
    export = ["export", "--ckpt_path", str(CHECKPOINT), "--out", "network.pt"]
    subset = ["data", "subset", "--size", "100", "--out", "small.csv"]
    return {
        "fit": Work(FIT, write_configs, go_on_fitting, lambda place: newest_record(place / "logs/small")),
        "study": Work(study, write_configs, again(study), study_numbers),
        "report": Work(report, copy(STUDY_FOLDER), again(report), report_files),
        "predict": Work(
            predict, copy(CHECKPOINT, Path("images.csv")), again([*predict, "--force"]), file("predictions.csv")
        ),
        "export": Work(export, copy(CHECKPOINT), again([*export, "--force"]), file("network.pt")),
        "data subset": Work(subset, copy(Path("data")), again([*subset, "--force"]), file("small.csv")),
    }
