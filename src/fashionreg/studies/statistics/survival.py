"""When noisy curves reach a target: smoothing, the log-rank test and the restricted mean time."""

import itertools
import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fashionreg.studies.statistics.correction import holm
from fashionreg.studies.statistics.estimates import Estimate, Floats, estimate, vector

#: The p value is exact up to this many ways of dividing the seeds into two groups: two groups of ten.
MOST_DIVISIONS = 184_756


def smoothed(curves: ArrayLike, window: int) -> Floats:
    """Smooth each curve by a centered moving mean.

    The mean at epoch e is over the epochs e - k to e + k with k = (window - 1) / 2; at both ends k shrinks to what is
    there on both sides, so that a straight line stays as it is and nothing is delayed (a trailing mean delays by k). A
    smoothed value therefore uses up to k later epochs.

    >>> smoothed([[0.0, 3.0, 0.0, 3.0]], 3).tolist()
    [[0.0, 1.0, 2.0, 3.0]]

    Args:
        curves: `(n, E)`, one curve for each seed. NaN and infinity make the means that contain them NaN or infinite.
        window: Odd, 1 or more, in epochs; 1 leaves the curves as they are.

    Raises:
        ValueError: If `curves` is not two-dimensional or the window not an odd number above 0.
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"curves: expected (seeds, epochs), got shape {values.shape}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window: must be odd and 1 or more, got {window}")
    epochs = values.shape[1]
    means = np.empty_like(values)
    for epoch in range(epochs):
        reach = min((window - 1) // 2, epoch, epochs - 1 - epoch)
        means[:, epoch] = values[:, epoch - reach : epoch + reach + 1].mean(axis=1)
    return means


def log_rank(times: Mapping[str, ArrayLike], reference: ArrayLike) -> dict[str, tuple[float, float]]:
    """Test whether variants reach a target at other times than the reference: the log-rank test, two-sided.

    At every time at which a seed arrives, the number of arrivals in the variant is compared with the one expected if
    both groups had the same chance (Mantel 1966; Peto and Peto 1972); seeds that never arrive count as not arrived
    until the end. Up to two groups of ten the p value is exact: the share of all divisions of the seeds into two groups
    of these sizes that differ at least as much (the permutation distribution). The normal distribution, which is used
    for more, rejects a true null hypothesis in 6 to 9% of cases where there are few seeds. Pairing by seed is not used.
    The test sees differences that keep one sign; curves of arrivals that cross can hide from it.

    Args:
        times: For each variant `(n,)`, above 0, infinity for seeds that never reached the target.
        reference: `(n',)`, the same of the reference.

    Returns:
        For each variant its p value, and that after Holm's correction over the variants. NaN where a group has no
        seeds or where no seed of both groups arrived; 1 where all arrived at one and the same time.

    Raises:
        ValueError: If times are not one-dimensional, or one is NaN or negative.
    """
    base = _times(reference, "reference")
    p = [_log_rank(_times(values, f"variant {name!r}"), base) for name, values in times.items()]
    return dict(zip(times, zip(p, holm(p).tolist(), strict=True), strict=True))


def restricted_mean(times: ArrayLike, end: float) -> Estimate:
    """Estimate the mean time to a target within the first `end` epochs or seconds: the mean of min(time, end).

    It is the area below the share of seeds that have not arrived yet, from 0 to `end` (restricted mean survival time,
    Royston and Parmar 2013), and finite where the median time is not. All seeds are followed to the same end, so that
    the Kaplan-Meier curve is the plain share of seeds and the standard error is std / sqrt(n). The interval is
    Student's t. Means of two variants are comparable for the same `end` only, and their difference by seed is a paired
    difference like any other.

    Args:
        times: `(n,)`, 0 or more, infinity for seeds that never reached the target.
        end: Above 0: no more than what all seeds were trained for.

    Raises:
        ValueError: If times are not one-dimensional, or one is NaN or negative, or `end` is not above 0 and finite.
    """
    if not 0 < end < np.inf:
        raise ValueError(f"end: must be above 0 and finite, got {end}")
    return estimate(np.minimum(_times(times, "times"), end))


def _times(values: ArrayLike, name: str) -> Floats:
    times = vector(values, name)
    wrong = times[~(times >= 0)]
    if len(wrong):
        raise ValueError(f"{name}: must be 0 or more, or infinity for seeds that never arrived, got {wrong[0]}")
    return times


def _log_rank(one: Floats, two: Floats) -> float:
    """Return the p value of the log-rank test of two groups."""
    together = np.concatenate([one, two])
    arrived = together[np.isfinite(together)]
    if not len(one) or not len(two) or not len(arrived):
        return np.nan
    if len(arrived) == len(together) and arrived.min() == arrived.max():
        return 1.0  # nothing is left that could vary
    if math.comb(len(together), len(one)) <= MOST_DIVISIONS:
        return _exact_p(together, len(one))
    end = arrived.max() + 1
    first, second = (
        stats.CensoredData(uncensored=group[np.isfinite(group)], right=np.full(np.count_nonzero(np.isinf(group)), end))
        for group in (one, two)
    )
    return float(stats.logrank(first, second).pvalue)


def _exact_p(times: Floats, n: int) -> float:
    """Return the share of all groups of `n` seeds whose arrivals differ at least as much from the expected number.

    Arrivals minus their expected number are a sum over the group's seeds: 1 for one that arrives, minus the hazard that
    it was under until then (Nelson-Aalen), 0 in all over both groups.

    Args:
        times: `(N,)` of both groups, those of the first group first.
        n: Size of the first group.
    """
    # (N, N), by row: who has not arrived before a seed does
    waiting = times[:, None] <= times
    # each arrival's share of the hazard, one over the number at risk; several at once have one each
    risk = np.where(np.isfinite(times), 1 / waiting.sum(axis=1), 0.0)
    excess = np.isfinite(times) - risk @ waiting
    sums = np.abs(excess[_groups(len(times), n)].sum(axis=1))
    # sums that are equal may differ by rounding
    return float(np.mean(sums >= abs(excess[:n].sum()) - 1e-9))


@lru_cache(maxsize=4)
def _groups(total: int, n: int) -> "NDArray[np.int32]":
    """Return all groups of `n` of `total` elements, `(groups, n)`."""
    chosen = itertools.chain.from_iterable(itertools.combinations(range(total), n))
    return np.fromiter(chosen, np.int32, math.comb(total, n) * n).reshape(-1, n)
