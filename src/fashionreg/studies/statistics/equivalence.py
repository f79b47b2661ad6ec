"""Is a difference large enough to matter? Equivalence, the decision between four answers, and the seeds that decide."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from fashionreg.studies.statistics.estimates import ALPHA, Estimate, Floats, Interval, estimate, finite

Decision = Literal["better", "worse", "equivalent", "undecided"]

#: The power for which a number of seeds is stated, and the largest number that is tried.
POWER = 0.8
MAX_SEEDS = 100_000


@dataclass(frozen=True)
class Equivalence:
    """Whether a mean difference lies within -relevant to +relevant.

    Attributes:
        relevant: The smallest difference that matters, in the unit of the differences.
        p: TOST, the larger p value of two one-sided t tests: that the difference is at or below -relevant, and that it
            is at or above +relevant. Below 0.05 the difference is shown to be within. NaN for n < 3, and without spread
            or standard error.
        interval: Student's t interval at 90%, which lies within +-relevant exactly where `p` is below 0.05. NaN for
            n < 2.
        probability_within: 0 to 1, the posterior probability that the true mean difference lies within, for normal
            differences and flat priors of the mean and of the logarithm of the standard deviation: then the mean has a
            t distribution with n - 1 degrees of freedom (Gelman et al. 2013, section 3.2). NaN as `p` is.
    """

    relevant: float
    p: float
    interval: Interval
    probability_within: float


def equivalence(differences: ArrayLike | Estimate, relevant: float) -> Equivalence:
    """Test by two one-sided t tests, TOST, whether a mean difference is too small to matter (Schuirmann 1987).

    Args:
        differences: `(n,)`, finite, variant minus reference of each seed; or their mean, as it was estimated.
        relevant: Above 0, in the same unit.

    Raises:
        ValueError: If the differences are not one-dimensional and finite, or `relevant` is not above 0.
    """
    one = differences if isinstance(differences, Estimate) else estimate(finite(differences, "differences"))
    _check_relevant(relevant)
    interval = one.interval(1 - 2 * ALPHA)
    if one.n < 3 or not one.error > 0:
        return Equivalence(relevant, np.nan, interval, np.nan)
    scale = one.n**0.5 / one.std if one.independent else 1 / one.error
    # P(-relevant < mean) + P(mean < relevant) - 1, from the small tails, so that nothing cancels
    outside = [float(special.stdtr(one.freedom, -(relevant + sign * one.mean) * scale)) for sign in (1, -1)]
    return Equivalence(relevant, max(outside), interval, max(0.0, 1 - sum(outside)))


def decide(
    difference: float,
    p: float,
    equivalence_p: float = np.nan,
    *,
    higher_is_better: bool = True,
    alpha: float = ALPHA,
) -> Decision:
    """Decide between better, worse, equivalent and undecided.

    Equivalent comes first: a difference that is shown, and shown to be too small to matter, is equivalent. With several
    variants both p values should be corrected for their number, each over its own tests. Then each of the two wrong
    answers, to see a difference where there is none and to see none where it matters, has at most probability `alpha`.

    Args:
        difference: Variant minus reference.
        p: Of the two-sided test against 0; NaN, where there is none, shows nothing.
        equivalence_p: Of `equivalence`; NaN without a smallest difference that matters.
        higher_is_better: True for an accuracy, False for a loss.
        alpha: Of both tests: 0.05, or the level of `looks_levels` at this look.
    """
    if equivalence_p < alpha:
        return "equivalent"
    if p < alpha and difference != 0:
        return "better" if (difference > 0) == higher_is_better else "worse"
    return "undecided"


@dataclass(frozen=True)
class SeedsToDecide:
    """How many seeds would decide with 80% power.

    Attributes:
        seeds: The number, if the true spread equals the observed one; infinite above 100,000.
        low: The number if the true spread is at the lower end of its 95% interval.
        high: The number if it is at the upper end.
    """

    seeds: float
    low: float
    high: float


def seeds_to_decide(
    std: float, n: int, difference: float, relevant: float | None = None, *, comparisons: int = 1
) -> SeedsToDecide:
    """Compute how many seeds would decide with 80% power, if the true mean difference were `difference`.

    Decided is what `decide` decides with both levels divided by the number of comparisons (Holm's strictest step). The
    uncertainty is that of the spread, by its chi-square interval: (n - 1) std**2 / sigma**2 has n - 1 degrees of
    freedom for normal differences.

    Args:
        std: Observed standard deviation of the differences between seeds, above 0.
        n: Number of seeds that it was observed with, 2 or more.
        difference: The true difference that is assumed; 0 asks what would show equivalence.
        relevant: The smallest difference that matters, above 0; None: only better and worse count as decided.
        comparisons: Number of variants compared with the reference.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if not (std > 0 and np.isfinite(std)) or n < 2 or comparisons < 1 or not np.isfinite(difference):
        raise ValueError(f"expected std > 0, n >= 2, comparisons >= 1, got {std}, {n}, {comparisons}, {difference}")
    if relevant is not None:
        _check_relevant(relevant)
    tails = stats.chi2.ppf([0.975, 0.025], n - 1) / (n - 1)
    spreads = [std, *(std / tails**0.5)]
    return SeedsToDecide(*(_fewest(abs(difference) / s, (relevant or 0) / s, ALPHA / comparisons) for s in spreads))


def decision_power(n: int, difference: float, relevant: float, alpha: float = ALPHA) -> float:
    """Compute the probability that `decide` decides, for n normal differences with standard deviation 1.

    Undecided are the means of size from max(0, relevant - t(1 - alpha) s) to t(1 - alpha / 2) s, with s the standard
    error estimated: a normal probability given s, integrated over the chi distribution of s.

    Args:
        n: Number of seeds, 3 or more.
        difference: True mean difference in standard deviations.
        relevant: In standard deviations; 0: equivalence is never shown.
        alpha: Level of the two-sided test and of each of the two one-sided tests.
    """
    nodes, weights = _nodes()
    # in standard errors of the mean
    spread: Floats = np.sqrt(stats.chi2.ppf(nodes, n - 1) / (n - 1))
    shown = stats.t.ppf(1 - alpha / 2, n - 1) * spread
    equivalent = np.maximum(relevant * n**0.5 - stats.t.ppf(1 - alpha, n - 1) * spread, 0)
    equivalent = np.minimum(equivalent, shown)
    mean = difference * n**0.5
    undecided = sum(stats.norm.cdf(sign * mean - equivalent) - stats.norm.cdf(sign * mean - shown) for sign in (1, -1))
    return float(1 - weights @ undecided)


@cache
def _nodes() -> tuple[Floats, Floats]:
    """Return nodes and weights of an integral over the probabilities 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    return (nodes + 1) / 2, weights / 2


def _fewest(difference: float, relevant: float, alpha: float) -> float:
    """Return the fewest seeds with the stated power, infinite if there are none up to the largest number tried."""
    few, many = 2, 3
    while decision_power(many, difference, relevant, alpha) < POWER:
        few, many = many, 2 * many
        if many > MAX_SEEDS:
            return np.inf
    while many - few > 1:
        middle = (few + many) // 2
        if decision_power(middle, difference, relevant, alpha) < POWER:
            few = middle
        else:
            many = middle
    return float(many)


def _check_relevant(relevant: float) -> None:
    if not 0 < relevant < np.inf:
        raise ValueError(f"relevant: must be above 0 and finite, got {relevant}")
