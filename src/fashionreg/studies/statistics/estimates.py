"""A mean over seeds with Student's t interval."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

#: The confidence level of every interval.
LEVEL = 0.95

#: The significance level of every test.
ALPHA = 0.05

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An interval, in the unit of what it is about; both ends NaN where it was not computed."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether it lies on one side of 0; one that was not computed does not."""
        return self.low > 0 or self.high < 0


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

    @property
    def independent(self) -> bool:
        """Whether the values are independent of one another."""
        return True

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for n = 0."""
        return self.std / self.n**0.5 if self.n else np.nan

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error."""
        return self.n - 1

    def interval(self, level: float) -> Interval:
        """Return the t interval of the mean at another level; NaN where there is none."""
        return t_interval(self.mean, self.std, self.n, level)


@dataclass(frozen=True)
class DependentEstimate(Estimate):
    """A mean of values that are not independent of one another; n is their number.

    Attributes:
        corrected_error: Standard error of the mean; NaN where it was not computed.
        corrected_freedom: Its degrees of freedom.
    """

    corrected_error: float
    corrected_freedom: float

    @property
    def independent(self) -> bool:
        """Whether the values are independent of one another."""
        return False

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.corrected_error

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error."""
        return self.corrected_freedom

    def interval(self, level: float) -> Interval:
        """Return the t interval of the mean at another level; NaN where there is none."""
        return t_around(self.mean, self.error, self.freedom, level)


def t_around(mean: float, error: float, freedom: float, level: float = LEVEL) -> Interval:
    """Return the t interval of a mean with this standard error and its degrees of freedom; NaN where these are 0."""
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error if freedom > 0 else np.nan
    return Interval(mean - half, mean + half)


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
    return Estimate(mean, std, *t_interval(mean, std, n), n)


def t_interval(mean: float, std: float, n: int, level: float = LEVEL) -> Interval:
    """Return Student's t interval of a mean: mean +- t((1 + level) / 2, n - 1) * std / sqrt(n); NaN for n < 2."""
    # with one value the t distribution has no degrees of freedom, and std is NaN
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * std / n**0.5 if n > 1 else np.nan
    return Interval(mean - half, mean + half)


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
