"""When the smoothed curves of each variant's seeds reach targets."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from fashionreg.studies.statistics import (
    Estimate,
    Reaching,
    epochs_to_target,
    log_rank,
    reaching,
    restricted_mean,
    smoothed,
    time_to_target,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Arrivals:
    """When the seeds of each variant reach targets: a list for each variant, one element for each target.

    Attributes:
        epochs: In epochs.
        seconds: In seconds of wall time, at the median speed of each seed; only of variants whose time is known.
        restricted: The mean number of epochs, where a seed that is later counts as `end`.
        log_rank: p values of the log-rank test against the reference, after Holm's correction over the variants; not
            for the reference.
        end: Number of epochs of the shortest training: until then all variants can be followed.
    """

    epochs: dict[str, list[Reaching]]
    seconds: dict[str, list[Reaching]]
    restricted: dict[str, list[Estimate]]
    log_rank: dict[str, list[float]]
    end: int

    def only(self, chosen: Container[str]) -> "Arrivals":
        """Return those of some variants."""

        def of(parts: dict[str, list[_T]]) -> dict[str, list[_T]]:
            return {name: part for name, part in parts.items() if name in chosen}

        return Arrivals(of(self.epochs), of(self.seconds), of(self.restricted), of(self.log_rank), self.end)


def window(epochs: int) -> int:
    """Return over how many epochs a curve of this length is smoothed: about a twentieth, an odd number.

    >>> [window(epochs) for epochs in (5, 39, 40, 100)]
    [1, 1, 3, 5]
    """
    return 2 * (epochs // 40) + 1


def arrivals(
    curves: "Mapping[str, pd.DataFrame]",
    wall_times: "Mapping[str, pd.DataFrame]",
    targets: Sequence[float],
    reference: str,
    *,
    higher_is_better: bool,
) -> Arrivals:
    """Find when the smoothed curve of each seed first reaches each target.

    The first epoch at which a noisy curve touches a target says little: it may be the luck of one epoch. The last one
    at which it is below says as little of a target near its end, where that is the last unlucky epoch.

    Args:
        curves: For each variant a row for each seed, a column for each epoch.
        wall_times: The same for the seconds of each epoch.
        targets: The targets.
        reference: The variant that the others are compared with, one of them.
        higher_is_better: True for an accuracy, False for a loss.
    """
    end = min(curve.shape[1] for curve in curves.values())
    epochs: dict[str, list[Reaching]] = {name: [] for name in curves}
    seconds: dict[str, list[Reaching]] = {}
    restricted: dict[str, list[Estimate]] = {name: [] for name in curves}
    tests: dict[str, list[float]] = {name: [] for name in curves if name != reference}
    for target in targets:
        taken = {}
        for name, curve in curves.items():
            smooth = smoothed(curve.to_numpy(float), window(curve.shape[1]))
            taken[name] = epochs_to_target(smooth, target, higher_is_better=higher_is_better)
            # at the median speed of each seed: a machine that stalls says nothing of the variant
            speed = wall_times[name].median(axis=1)[curve.index].to_numpy()
            times = np.repeat(speed[:, None], curve.shape[1], axis=1)
            epochs[name].append(reaching(taken[name], target))
            if not np.isnan(speed).any():
                seconds.setdefault(name, []).append(reaching(time_to_target(taken[name], times), target))
            restricted[name].append(restricted_mean(taken[name], end))
        base = taken.pop(reference)
        for name, (_, p) in log_rank(taken, base).items():
            tests[name].append(p)
    return Arrivals(epochs, seconds, restricted, tests, end)
