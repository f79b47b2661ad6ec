"""Variants against a reference, paired by seed: tests, Holm's correction and the minimum detectable effect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from fashionreg.studies.statistics.correction import holm, simultaneous_intervals
from fashionreg.studies.statistics.estimates import (
    ALPHA,
    Estimate,
    Floats,
    Interval,
    estimate,
    finite,
    mean_of,
    std_of,
)

#: The power for which `Comparison.detectable` is stated.
POWER = 0.8

#: With two seeds a t test rests on a single difference of differences.
MIN_SEEDS_T = 3

#: With fewer seeds a two-sided rank test cannot fall below 0.05 (2 / 2**5 = 0.0625).
MIN_SEEDS_RANKS = 6

#: Up to here the signed-rank test is exact; beyond, the normal distribution gives its p values to within 0.001.
MAX_SEEDS_EXACT = 200

#: Relative to the results: differences closer than this differ by rounding only (0.86 - 0.85 is not 0.75 - 0.74).
ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """A variant against the reference, paired by seed.

    Attributes:
        n: Number of seeds, one pair each.
        difference: Variant minus reference, in the unit of the metric; `low` and `high` are Student's t interval for
            this comparison alone, NaN for n < 2. It excludes 0 where `t_p` is below 0.05.
        simultaneous: The interval of `simultaneous_intervals`, over the variants compared. It excludes 0 exactly where
            `t_p_holm` is below 0.05 (or another level of `corrected`), and is NaN where that is.
        t_p: Paired t test, two-sided. NaN for n < 3, and where all differences are equal but not 0 (no spread, no t).
            1 where all are 0.
        wilcoxon_p: Wilcoxon signed-rank test, two-sided, exact up to 200 seeds. NaN for n < 6, where it cannot fall
            below 0.05. 1 where all differences are 0.
        t_p_holm: `t_p` after Holm's correction over the variants compared.
        wilcoxon_p_holm: `wilcoxon_p` after Holm's correction over the variants compared.
        probability_better: 0 to 1, the share of seeds for which the variant beats the reference; ties count half. It
            estimates P(variant better than reference, same seed). NaN for n = 0.
        detectable: The smallest absolute mean difference that a two-sided paired t test at 5% would have shown with 80%
            power, given n and the spread of the differences. NaN for n < 3, and without spread or standard error.
    """

    n: int
    difference: Estimate
    simultaneous: Interval
    t_p: float
    wilcoxon_p: float
    t_p_holm: float
    wilcoxon_p_holm: float
    probability_better: float
    detectable: float


def compare(
    variants: Mapping[str, ArrayLike],
    reference: ArrayLike,
    *,
    higher_is_better: bool = True,
    family: int | None = None,
    summary: Callable[[Floats], Estimate] = estimate,
) -> dict[str, Comparison]:
    """Compare variants with the reference, paired by seed: element i of every array belongs to the same seed.

    Wilcoxon's test drops differences of 0, gives ties their mean rank and takes the exact distribution given these
    ranks (Wilcoxon 1945; Hollander, Wolfe and Chicken 2014, section 3.1). The detectable difference solves P(|T| >
    t(1 - 0.025 / m, n - 1)) = 0.8 for a noncentral T (Cohen 1988, chapter 2), m the number of comparisons. Holm's
    correction runs over the variants whose p value was computed, separately for each of the two tests.

    Differences that agree to 1e-12 of the largest result count as equal, so that rounding breaks no tie.

    Args:
        variants: For each variant `(n,)`, finite.
        reference: `(n,)`, finite.
        higher_is_better: True for an accuracy, False for a loss; it decides `probability_better` alone.
        family: How many comparisons are made in all, where these are not all: `detectable` must pass Holm's strictest
            step, 5% divided by this number.
        summary: Estimates the mean of differences `(n,)`, where they are not independent of one another: its standard
            error is that of all tests and intervals. Wilcoxon's test needs independent ones, and there is none then.

    Returns:
        One comparison for each variant, in the same order.

    Raises:
        ValueError: If an array is not one-dimensional and finite, or not as long as the reference.
    """
    reference = finite(reference, "reference")
    differences = {name: differences_of(results, reference, f"variant {name!r}") for name, results in variants.items()}
    alpha = ALPHA / (family or max(len(differences), 1))
    alone = {name: _compare(each, summary(each), higher_is_better, alpha) for name, each in differences.items()}
    return corrected(alone)


def differences_of(variant: ArrayLike, reference: ArrayLike, name: str = "variant") -> Floats:
    """Return variant minus reference of each seed, without what differs by rounding only; `name` is for errors.

    Raises:
        ValueError: If an array is not one-dimensional and finite, or lengths differ.
    """
    values, base = finite(variant, name), finite(reference, "reference")
    if len(values) != len(base):
        raise ValueError(f"{name}: has {len(values)} seeds, the reference has {len(base)}")
    return settled(values - base, ROUNDING * float(np.max(np.abs([values, base]), initial=0)))


def corrected(comparisons: Mapping[str, Comparison], alpha: float = ALPHA) -> dict[str, Comparison]:
    """Correct comparisons for their number: Holm's adjusted p values of both tests, and simultaneous intervals.

    The comparisons may rest on different seeds. What they hold of an earlier correction is replaced. The intervals
    exclude 0 where the adjusted p value is below `alpha`: 0.05, or the level of `looks_levels` at this look.
    """
    family = list(comparisons.values())
    t_p = [one.t_p for one in family]
    t_holm, wilcoxon_holm = holm(t_p).tolist(), holm([one.wilcoxon_p for one in family]).tolist()
    intervals = simultaneous_intervals([one.difference for one in family], t_p, alpha)
    return {
        name: replace(one, simultaneous=interval, t_p_holm=t, wilcoxon_p_holm=wilcoxon)
        for (name, one), interval, t, wilcoxon in zip(
            comparisons.items(), intervals, t_holm, wilcoxon_holm, strict=True
        )
    }


def _compare(difference: Floats, one: Estimate, higher_is_better: bool, alpha: float) -> Comparison:
    """Describe the settled differences `(n,)` of one variant and their mean, not corrected yet."""
    gain = difference if higher_is_better else -difference
    return Comparison(
        n=one.n,
        difference=one,
        simultaneous=Interval(np.nan, np.nan),
        t_p=t_test(difference, one),
        wilcoxon_p=_wilcoxon_p(difference) if one.independent else np.nan,
        t_p_holm=np.nan,
        wilcoxon_p_holm=np.nan,
        probability_better=mean_of((np.sign(gain) + 1) / 2),
        detectable=_noncentrality(one.freedom, alpha) * one.error if one.n > 2 and one.error > 0 else np.nan,
    )


def settled(differences: Floats, tolerance: float) -> Floats:
    """Make differences equal in size whose sizes agree within `tolerance`, and 0 those within it of 0."""
    # 0 heads the sorted sizes, so that a run of neighbours which begins there becomes 0
    sizes, index = np.unique(np.append(np.abs(differences), 0.0), return_inverse=True)
    starts = np.diff(sizes, prepend=-np.inf) > tolerance
    settled = sizes[starts][np.cumsum(starts) - 1]
    return np.asarray(np.sign(differences) * settled[index[:-1]], dtype=np.float64)


def t_test(values: Floats, one: Estimate | None = None) -> float:
    """Return the two-sided p value of the t test of the mean against 0; NaN for n < 3, and without spread.

    Args:
        values: `(n,)`.
        one: Their mean with its standard error, where they are not independent of one another.
    """
    n, std = len(values), std_of(values)
    if n < MIN_SEEDS_T:
        return np.nan
    if std == 0:
        # all 0 is what the null hypothesis expects; all equal to another number would claim certainty from no spread
        return np.nan if values[0] else 1.0
    if one is not None and not one.independent:
        return float(2 * special.stdtr(one.freedom, -abs(one.mean) / one.error))
    # as stats.t.sf, without its checks, which take most of the time of many tests
    return float(2 * special.stdtr(n - 1, -abs(mean_of(values)) / std * n**0.5))


def _wilcoxon_p(differences: Floats) -> float:
    """Return the two-sided p value of Wilcoxon's signed-rank test; equal sizes must be exactly equal."""
    if len(differences) < MIN_SEEDS_RANKS:
        return np.nan
    differences = differences[differences != 0]
    # twice the ranks, as ties may share half ranks: whole numbers
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)
    total = int(ranks.sum())
    positive = int(ranks[differences > 0].sum())
    # the distribution is symmetric about total / 2: the smaller of the two sums is in the lower tail
    smaller = min(positive, total - positive)
    if len(differences) > MAX_SEEDS_EXACT:
        # with the usual correction for continuity: half a rank, 1 in these units
        z = (smaller + 1 - total / 2) / (np.sum(ranks.astype(np.float64) ** 2) / 4) ** 0.5
        return min(1.0, float(2 * stats.norm.cdf(z)))
    # chance[s]: that the positive ranks sum to s, when each sign is a toss of a coin
    chance = np.zeros(total + 1)
    chance[0] = 1
    for rank in ranks:
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[: total + 1 - rank]
        chance = (chance + shifted) / 2
    return min(1.0, 2 * float(chance[: smaller + 1].sum()))


@lru_cache
def _noncentrality(freedom: float, alpha: float) -> float:
    """Return the mean in standard errors that a two-sided t test shows with the stated power."""
    critical = float(stats.t.ppf(1 - alpha / 2, freedom))

    def surplus(mean: float) -> float:
        # far out scipy knows no numbers: there nothing is left below the critical value
        above, below = stats.nct.sf(critical, freedom, mean), stats.nct.cdf(-critical, freedom, mean)
        return float(np.nan_to_num(above, nan=1.0) + np.nan_to_num(below, nan=0.0)) - POWER

    # at 1 the power is below 20%, far above the critical value it is nearly 1
    return float(optimize.brentq(surplus, 1, 3 * critical + 4))
