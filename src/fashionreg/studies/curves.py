"""Learning curves of a variant, and what they and the time of their epochs show by themselves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: An epoch that takes more than this many times the median of its run is a stall, of the machine or of a compiler.
STALL = 3

#: A loss that has risen by this factor since its minimum has risen strongly.
STRONG = 1.25


@dataclass(frozen=True)
class Stall:
    """An epoch that took much longer than its run's others.

    Attributes:
        variant: Whose epoch.
        epoch: From 1.
        times: How many times the median of the run.
    """

    variant: str
    epoch: int
    times: float


@dataclass(frozen=True)
class Rise:
    """How far a mean curve is above its minimum at the end.

    Attributes:
        epoch: Where the minimum is, from 1.
        lowest: The minimum.
        last: The last epoch.
        end: The mean there.
    """

    epoch: int
    lowest: float
    last: int
    end: float

    @property
    def strong(self) -> bool:
        """Whether the end is far above the minimum."""
        return self.end >= STRONG * self.lowest > 0


def curves_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return by `split/metric`, and `gap`, a row for each seed of a variant and a column for each epoch.

    Args:
        table: The rows of one variant in `StudyResults.table`.
    """
    curves = {
        f"{split}/{metric}": rows.pivot(index="seed", columns="epoch", values="value")
        for (split, metric), rows in table.groupby(["split", "metric"])
    }
    if "train/acc" in curves and "test/acc" in curves:
        curves["gap"] = curves["train/acc"] - curves["test/acc"]
    return curves


def best_epochs(curves: dict[str, pd.DataFrame]) -> "pd.Series[int] | None":
    """Return for each seed the epoch with the highest validation accuracy, the first of equals; None without any."""
    return curves["val/acc"].idxmax(axis=1) if "val/acc" in curves else None


def rise_of(curve: pd.DataFrame) -> Rise | None:
    """Return how the mean over seeds of a curve ends above its minimum; None where it is not finite."""
    mean = curve.mean(axis=0, skipna=False)
    if not np.isfinite(mean).all():
        return None
    lowest = int(np.argmin(mean.to_numpy()))
    return Rise(lowest + 1, float(mean.iloc[lowest]), len(mean), float(mean.iloc[-1]))


def stalls_of(variant: str, seconds: pd.DataFrame) -> Iterator[Stall]:
    """Yield the stalls of a variant's runs; seeds that were trained side by side share them.

    Args:
        variant: Its name.
        seconds: A row for each seed, a column for each epoch.
    """
    times = seconds.div(seconds.median(axis=1), axis=0).max()
    for epoch, longest in zip(times.index.tolist(), times.tolist(), strict=True):
        if math.isfinite(longest) and longest > STALL:
            yield Stall(variant, epoch, longest)
