"""Seeds that collapsed or diverged, and means that a few of them do not move."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fashionreg.studies.statistics.estimates import (
    LEVEL,
    Estimate,
    Floats,
    Interval,
    estimate,
    finite,
    mean_of,
    std_of,
    vector,
)

#: How many standard deviations, estimated from the median, a collapsed seed is worse than the median.
COLLAPSE = 5.0

#: A median absolute deviation times this estimates the standard deviation of normal values.
NORMAL_MAD = 1.4826

#: With fewer values an interval for a median cannot reach 95% (1 - 2 / 2**5 = 0.9375).
MIN_SEEDS_MEDIAN = 6

#: With fewer values trimming a quarter at each end leaves fewer than 3.
MIN_SEEDS_TRIMMED = 5


@dataclass(frozen=True)
class Outliers:
    """Positions of the seeds that did not train.

    Attributes:
        collapsed: Finite, but far worse than the others.
        diverged: Not finite.
    """

    collapsed: list[int]
    diverged: list[int]


def outliers(values: ArrayLike, margin: float, *, higher_is_better: bool = True) -> Outliers:
    """Find seeds that collapsed or diverged.

    Collapsed is a result that is worse than the median of the finite ones by more than 5 * 1.4826 times their median
    absolute deviation (Leys et al. 2013, with a stricter limit) *and* by more than `margin`: where nearly all seeds
    agree, tiny deviations are many deviations large. A good result never is an outlier. If half of the seeds or more
    collapse, the median is one of them, and none is found.

    Args:
        values: `(n,)`, one for each seed; NaN and infinity are diverged.
        margin: 0 or more, in the unit of the values: 0.05 for accuracies.
        higher_is_better: True for an accuracy, False for a loss.

    Raises:
        ValueError: If the values are not one-dimensional or the margin is negative.
    """
    results = vector(values, "values")
    if not margin >= 0:
        raise ValueError(f"margin: must be 0 or more, got {margin}")
    trained = np.isfinite(results)
    if not trained.any():
        return Outliers([], list(range(len(results))))
    median = np.median(results[trained])
    limit = max(COLLAPSE * NORMAL_MAD * float(np.median(np.abs(results[trained] - median))), margin)
    worse = (median - results if higher_is_better else results - median) > limit
    return Outliers(np.flatnonzero(trained & worse).tolist(), np.flatnonzero(~trained).tolist())


def interquartile_mean(values: ArrayLike) -> Estimate:
    """Estimate the interquartile mean, the mean without the lowest and the highest quarter (Agarwal et al. 2021).

    The interval is the trimmed t interval: IQM +- t(0.975, h - 1) * sqrt(SSD / (h (h - 1))), with g = floor(n / 4)
    values trimmed at each end, h = n - 2 g left, and SSD the sum of squared deviations after the trimmed values are
    moved to the nearest one left (Yuen 1974). For normal values it covers 93.5 to 94.5% from n = 5 on, with heavier
    tails 95 to 96%. The percentile bootstrap of Agarwal et al. is made for many tasks, and too narrow for ten seeds of
    one. `std` is that of all values.

    Args:
        values: `(n,)`, finite, one for each seed. NaN interval for n < 5.

    Raises:
        ValueError: If the values are not one-dimensional and finite.
    """
    ordered = np.sort(finite(values, "values"))
    n = len(ordered)
    g = n // 4
    kept = ordered[g : n - g]
    mean = mean_of(kept)
    half = np.nan
    if n >= MIN_SEEDS_TRIMMED:
        h = len(kept)
        moved = std_of(np.clip(ordered, kept[0], kept[-1]))
        half = float(stats.t.ppf((1 + LEVEL) / 2, h - 1)) * moved * ((n - 1) / (h * (h - 1))) ** 0.5
    return Estimate(mean, std_of(ordered), mean - half, mean + half, n)


def median(values: ArrayLike) -> Estimate:
    """Estimate the median with the interval of `median_interval`; `std` is that of all values.

    Args:
        values: `(n,)`, finite, one for each seed.

    Raises:
        ValueError: If the values are not one-dimensional and finite.
    """
    ordered = np.sort(finite(values, "values"))
    middle = float(np.median(ordered)) if len(ordered) else np.nan
    return Estimate(middle, std_of(ordered), *median_interval(ordered), len(ordered))


def median_interval(ordered: Floats) -> Interval:
    """Compute the distribution-free interval of a median from values in ascending order; NaN for n < 6.

    It runs from the k-th smallest to the k-th largest value, with the largest k for which it covers at least 95% by the
    binomial distribution (Thompson 1936; Hollander, Wolfe and Chicken 2014, section 3.6). As k is a whole number it
    covers more than it must: 97.9% at n = 10, 95.9% at n = 20. Ties only make it cover more.
    """
    n = len(ordered)
    if n < MIN_SEEDS_MEDIAN:
        return Interval(np.nan, np.nan)
    # the smallest k with P(Binomial(n, 1/2) <= k) >= 2.5%: that fewer than k times lie below the median is rarer
    k = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
    return Interval(float(ordered[k - 1]), float(ordered[n - k]))


@dataclass(frozen=True)
class Robust:
    """A difference by its mean and by two summaries that a few seeds do not move.

    Attributes:
        mean: With Student's t interval.
        interquartile_mean: As the function of that name returns it.
        median: As the function of that name returns it.
        disagree: Whether they lead to different answers: above 0, below 0, or neither, by their 95% intervals. An
            interval that was not computed gives none. With ten seeds the interval of the median is wide (97.9%), so
            that it often shows nothing where the mean does.
    """

    mean: Estimate
    interquartile_mean: Estimate
    median: Estimate
    disagree: bool


def robust(differences: ArrayLike) -> Robust:
    """Summarise the differences between pairs of seeds `(n,)` by mean, interquartile mean and median.

    Raises:
        ValueError: If the differences are not one-dimensional and finite.
    """
    three = estimate(differences), interquartile_mean(differences), median(differences)
    answers = {(one.low > 0) - (one.high < 0) for one in three if not np.isnan(one.low)}
    return Robust(*three, disagree=len(answers) > 1)
