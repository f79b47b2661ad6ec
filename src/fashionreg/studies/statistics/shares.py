"""Intervals of shares (accuracies, probabilities) that stay within 0 to 1."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from fashionreg.studies.statistics.estimates import LEVEL, Estimate, Interval, finite, mean_of, std_of


def proportion_interval(successes: int, n: int) -> Interval:
    """Compute the 95% interval of a probability from a count: Wilson's score interval (Wilson 1927).

    All probabilities whose z test would not reject `successes` of `n`. It stays within 0 to 1, has a width even for 0
    or n successes, and covers 95% on average over the probabilities (Brown, Cai and DasGupta 2001).

    Args:
        successes: 0 to `n`.
        n: 0 or more independent trials; NaN for 0.

    Raises:
        ValueError: If `successes` is not from 0 to `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes: must be from 0 to {n}, got {successes}")
    if n == 0:
        return Interval(np.nan, np.nan)
    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def estimate_share(values: ArrayLike) -> Estimate:
    """Estimate the mean of shares over seeds with a t interval on the logit scale, which stays within 0 to 1.

    logit(mean) +- t(0.975, n - 1) * std / (sqrt(n) * mean * (1 - mean)), turned back into shares (delta method; Korn
    and Graubard 1998). Where the interval is narrow and far from 0 and 1 it is Student's t interval; close to 1 it is
    longer downwards. The mean is the plain mean. Equal values give an interval of width 0.

    Args:
        values: `(n,)`, from 0 to 1, one for each seed: accuracies, each of many images.

    Raises:
        ValueError: If the values are not one-dimensional and from 0 to 1.
    """
    values = finite(values, "values")
    wrong = values[(values < 0) | (values > 1)]
    if len(wrong):
        raise ValueError(f"values: must be from 0 to 1, got {wrong[0]}")
    mean, std, n = mean_of(values), std_of(values), len(values)
    if n < 2 or std == 0:
        low = high = mean if n > 1 else np.nan
    else:
        # the values are not all equal: the mean is neither 0 nor 1
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * std / (n**0.5 * mean * (1 - mean))
        low, high = (float(special.expit(special.logit(mean) + sign * half)) for sign in (-1, 1))
    return Estimate(mean, std, low, high, n)
