"""What is measured, by whom, and how one run went."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

CONFIGS = Path(__file__).parents[1] / "configs"

#: The first epoch of every contender is not counted: it includes reading the data, initialization and compilation.
WARM_UP_EPOCHS = 1

Workload = Literal["batch norm study", "lecture 7"]


@dataclass(frozen=True)
class Work:
    """The task of every contender.

    Attributes:
        root: Folder that holds `FashionMNIST/raw`.
        epochs: Epochs to time, after `WARM_UP_EPOCHS` others; a contender may multiply them.
        train_size: Training images, of all that there are.
        all_images: Training images that there are.
    """

    root: Path
    epochs: int
    train_size: int
    all_images: int

    @property
    def total_epochs(self) -> int:
        """Epochs that a contender trains, if it does not multiply them."""
        return WARM_UP_EPOCHS + self.epochs

    @property
    def first_images(self) -> int | None:
        """How many of the first images make a trial; None where all are used."""
        return None if self.train_size == self.all_images else self.train_size


@dataclass(frozen=True)
class Outcome:
    """The result of one run.

    Attributes:
        seconds: Wall time of each timed epoch, its evaluation included.
        accuracies: Test accuracy after the last epoch, 0 to 1, of each seed; none for what does not train.
        facts: Further facts for the results file: the CPU threads that a fit chose, the rate of the limit.
        evaluation: Seconds of each timed epoch's evaluation, where they were measured.
    """

    seconds: list[float]
    accuracies: list[float]
    facts: dict[str, Any] = field(default_factory=dict)
    evaluation: list[float] = field(default_factory=list)


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
        workload: What it trains: the network and data of the batch norm study, or those of lecture 7.
        compiled: Whether its training step is compiled.
        threads: CPU threads that it starts with, where they are not those that torch starts with.
        in_table: Whether it has a row in the table; the others are points of the figure, measured in one repeat.
        setting: Hidden width and number of training images, for the figure.
    """

    name: str
    label: str
    run: Callable[[Work, int], Outcome]
    seeds: int = 1
    device: str = "cpu"
    batch_norm: bool = True
    workload: Workload = "batch norm study"
    compiled: bool = False
    threads: int | None = None
    in_table: bool = True
    setting: tuple[int, int] | None = None
