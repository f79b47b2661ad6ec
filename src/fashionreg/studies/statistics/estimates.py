"""A mean over seeds with an interval: Student's t, and the bootstrap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

#: The confidence level of every interval.
LEVEL = 0.95

#: With fewer values the tails of a bootstrap are made of a handful of resamples.
MIN_SEEDS_BOOTSTRAP = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval.

    Attributes:
        mean: In the unit of the values; NaN for n = 0.
        std: Sample standard deviation (divisor n - 1); NaN for n < 2.
        low: Lower end of the interval; NaN where it was not computed.
        high: Upper end.
        n: Number of seeds.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int


def estimate(values: ArrayLike) -> Estimate:
    """Estimate the mean over seeds with its Student t interval: mean +- t(0.975, n - 1) * std / sqrt(n).

    The interval covers 95% for normal values and any n >= 2. Equal values give an interval of width 0: no spread was
    seen, which is not to say that there is none.

    Args:
        values: `(n,)`, finite, one for each seed.

    Raises:
        ValueError: If the values are not one-dimensional and finite.
    """
    values = finite(values, "values")
    mean, std, n = mean_of(values), std_of(values), len(values)
    # with one value the t distribution has no degrees of freedom, and SciPy's quantile is NaN as std is
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / n**0.5 if n > 1 else np.nan
    return Estimate(mean, std, mean - half, mean + half, n)


def bootstrap_interval(values: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Compute the 95% interval of the mean by the bias-corrected and accelerated bootstrap, BCa (Efron 1987).

    It follows the skewness of the values, which a t interval does not. With few seeds it is somewhat too narrow: for
    normal values it covers about 90% at n = 10, 92% at n = 15 and 93% at n = 20. The order of the values does not
    matter.

    Args:
        values: `(n,)`, finite, one for each seed.
        resamples: Number of bootstrap samples, 100 or more.
        seed: Of the resampling; the same call gives the same interval.

    Returns:
        Lower and upper end. NaN for fewer than 5 values; both the value itself where all values are equal.

    Raises:
        ValueError: If the values are not one-dimensional and finite, or `resamples` is too small.
    """
    values = np.sort(finite(values, "values"))
    if resamples < 100:
        raise ValueError(f"resamples: must be at least 100, got {resamples}")
    if len(values) < MIN_SEEDS_BOOTSTRAP:
        return np.nan, np.nan
    smallest, width = float(values[0]), float(values[-1] - values[0])
    if width == 0:
        return smallest, smallest
    # from 0 to 1: the third powers in the acceleration then neither vanish nor overflow
    standard = (values - smallest) / width
    generator = np.random.default_rng(seed)
    # vectorized, so that SciPy does not call the mean once for each resample
    result = stats.bootstrap(
        (standard,),
        np.mean,
        vectorized=True,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method="BCa",
        random_state=generator,
    )
    low, high = result.confidence_interval
    return smallest + float(low) * width, smallest + float(high) * width


def vector(values: ArrayLike, name: str) -> Floats:
    """Return values as a float64 array `(n,)`; `name` is what an error calls them."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    return array


def finite(values: ArrayLike, name: str) -> Floats:
    """Return values as a float64 array `(n,)` without NaN and infinity; `name` is what an error calls them."""
    array = vector(values, name)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{name}: must be finite, got {array[wrong[0]]} at position {wrong[0]}")
    return array


def mean_of(values: Floats) -> float:
    """Return the mean; NaN for no values, and exactly the value where all are equal."""
    if not len(values):
        return np.nan
    return float(values[0] + np.mean(values - values[0]))


def std_of(values: Floats) -> float:
    """Return the sample standard deviation; NaN for fewer than two values, and exactly 0 where all are equal."""
    if len(values) < 2:
        return np.nan
    # from the first value, for equal values need not equal their rounded mean
    return float(np.std(values - values[0], ddof=1))
