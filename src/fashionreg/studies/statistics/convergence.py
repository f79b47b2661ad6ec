"""How soon seeds reach a target, in epochs and in seconds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fashionreg.studies.statistics.estimates import Floats, vector
from fashionreg.studies.statistics.robust import median_interval


@dataclass(frozen=True)
class Reaching:
    """How soon seeds reach a target; seeds that never did count as later than all others.

    Attributes:
        target: The value to be reached.
        reached: Number of seeds that reached it.
        n: Number of seeds.
        median: Median over all n seeds, in the unit of the times; infinite if half or more never reached the target,
            NaN for n = 0.
        low: Lower end of the 95% interval of the median; NaN for n < 6.
        high: Upper end; may be infinite.
    """

    target: float
    reached: int
    n: int
    median: float
    low: float
    high: float


def epochs_to_target(curves: ArrayLike, target: float, *, higher_is_better: bool = True) -> Floats:
    """Find the first epoch at which each curve reaches the target, linear between the epoch before and that epoch.

    >>> epochs_to_target([[0.25, 0.5, 0.75]], 0.625).tolist()
    [2.5]

    Args:
        curves: `(n, E)`, one curve for each seed, epoch e (from 1) in column e - 1. NaN (a diverged network) reaches
            nothing.
        target: Finite.
        higher_is_better: Whether to reach is to be at or above the target (True) or at or below it (False).

    Returns:
        `(n,)`: 1 where the curve is there at epoch 1, as nothing is known before; infinity where it never is. Where the
        epoch before has no finite value, the epoch itself.

    Raises:
        ValueError: If `curves` is not two-dimensional or the target not finite.
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"curves: expected (seeds, epochs), got shape {values.shape}")
    if not np.isfinite(target):
        raise ValueError(f"target: must be finite, got {target}")
    if not higher_is_better:
        values, target = -values, -target
    there = values >= target
    epochs = np.full(len(values), np.inf)
    for seed in np.flatnonzero(there.any(axis=1)):
        column = int(np.argmax(there[seed]))
        after = values[seed, column]
        before = values[seed, column - 1] if column else np.nan
        # how far back the crossing lies, in epochs: 0 at the epoch itself, never as much as 1
        back = (after - target) / (after - before) if np.isfinite([before, after]).all() else 0.0
        epochs[seed] = column + 1 - back
    return epochs


def time_to_target(epochs: ArrayLike, seconds: ArrayLike) -> Floats:
    """Find the wall time at which each seed reaches the target, linear within an epoch.

    >>> time_to_target([2.5], [10.0, 10.0, 20.0]).tolist()
    [30.0]

    Args:
        epochs: `(n,)` as `epochs_to_target` returns them: 1 to E, or infinity.
        seconds: `(E,)` or, where seeds were timed on their own, `(n, E)`: wall time of each epoch, 0 or more.

    Returns:
        `(n,)` seconds from the start of training; infinity stays infinity.

    Raises:
        ValueError: If shapes do not fit, an epoch is not among 1 to E, or a time is negative or not finite.
    """
    when = vector(epochs, "epochs")
    durations = np.asarray(seconds, dtype=np.float64)
    if durations.ndim not in (1, 2) or (durations.ndim == 2 and len(durations) != len(when)):
        raise ValueError(f"seconds: expected (epochs,) or ({len(when)}, epochs), got shape {durations.shape}")
    if not (np.isfinite(durations) & (durations >= 0)).all():
        raise ValueError("seconds: must be finite and 0 or more")
    total = durations.shape[-1]
    finite = when != np.inf
    wrong = when[finite & ~((when >= 1) & (when <= total))]
    if len(wrong):
        raise ValueError(f"epochs: must be from 1 to {total}, or infinity, got {wrong[0]}")
    elapsed = np.zeros((len(when), total + 1))
    elapsed[:, 1:] = np.cumsum(durations, axis=-1)
    times = np.full(len(when), np.inf)
    for seed in np.flatnonzero(finite):
        times[seed] = np.interp(when[seed], np.arange(total + 1), elapsed[seed])
    return times


def reaching(times: ArrayLike, target: float) -> Reaching:
    """Estimate the median time to a target, with a distribution-free interval.

    The interval is that of `median_interval`. Seeds that never reached the target are only
    known to be later, which is all that ranks need.

    Args:
        times: `(n,)`, in any unit, infinity for seeds that never reached the target.
        target: The value to be reached, kept for the reader.

    Raises:
        ValueError: If the times are not one-dimensional, or one is NaN or minus infinity.
    """
    ordered = np.sort(vector(times, "times"))
    if np.isnan(ordered).any() or (ordered == -np.inf).any():
        raise ValueError("times: must be finite, or infinity for seeds that never reached the target")
    n = len(ordered)
    median = float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2) if n else np.nan
    return Reaching(float(target), int(np.isfinite(ordered).sum()), n, median, *median_interval(ordered))
