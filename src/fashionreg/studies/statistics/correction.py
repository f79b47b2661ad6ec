"""Several comparisons at once: Holm's correction, and intervals that hold for all of them together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fashionreg.studies.statistics.estimates import ALPHA, Estimate, Floats, Interval, vector


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for their number by Holm's step-down method (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, then raised to the largest adjusted value before it, at most 1.
    Rejecting where the result is below 0.05 keeps the chance of any false rejection below 5%, however the tests depend
    on one another. NaN stays NaN and does not count in m.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]

    Args:
        p_values: `(m,)`, each from 0 to 1 or NaN.

    Returns:
        `(m,)`, in the same order.

    Raises:
        ValueError: If the p values are not one-dimensional or leave 0 to 1.
    """
    p = vector(p_values, "p_values")
    wrong = p[(p < 0) | (p > 1)]
    if len(wrong):
        raise ValueError(f"p_values: must be from 0 to 1 or NaN, got {wrong[0]}")
    # NaN sorts last
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def simultaneous_intervals(
    differences: Sequence[Estimate], p_values: ArrayLike, alpha: float = ALPHA
) -> list[Interval]:
    """Compute intervals that hold for several differences at once and agree with Holm's decisions about them.

    With m tests, the interval is Bonferroni's, a t interval at 1 - 0.05 / m. It contains 0 wherever Holm does not
    reject, for Holm rejects whatever Bonferroni rejects. Where Holm rejects in a later step and Bonferroni does not,
    the interval is cut at 0, which it then excludes: the end becomes the number next to 0. So an interval excludes 0
    exactly where the adjusted p value is below 0.05. All this holds for another `alpha` in place of 0.05.

    What it covers: that the exclusions of 0 are all right has at least 95% (Holm), and that the ends other than 0 are
    all right has at least 95% (Bonferroni), however the differences depend on one another. Both at once have at least
    1 - 0.05 * (2 - m0 / m) with m0 true differences of 0: 95% if no variant differs from the reference (m0 = m), and
    never below 90%. Intervals that hold for Holm's tests at 95% exist, but those of rejected hypotheses reach from 0
    to infinity unless all are rejected (Strassburger and Bretz 2008; Guilbaud 2008): Holm's later steps use up the 5%.

    Args:
        differences: `(m',)` estimates of the differences.
        p_values: `(m',)` two-sided p values of their t tests against 0; NaN where there is none, which does not count
            in m.
        alpha: 0.05, or the level of `looks_levels` at this look.

    Returns:
        `(m',)` intervals; NaN where the p value is.
    """
    p = vector(p_values, "p_values")
    tests = np.count_nonzero(~np.isnan(p))
    intervals = []
    for one, adjusted in zip(differences, holm(p), strict=True):
        if np.isnan(adjusted):
            intervals.append(Interval(np.nan, np.nan))
            continue
        low, high = one.interval(1 - alpha / tests)
        if adjusted >= alpha:  # holds already, but for rounding where an end is at 0
            low, high = min(low, 0.0), max(high, 0.0)
        elif one.mean > 0:
            low = max(low, np.nextafter(0, 1))
        else:
            high = min(high, np.nextafter(0, -1))
        intervals.append(Interval(float(low), float(high)))
    return intervals
