"""How many seeds would show a difference, if the true spread equals the observed one."""

from scipy import stats

from fashionreg.studies.statistics import ALPHA

POWER = 0.8

#: Beyond this nobody trains.
MOST_SEEDS = 100_000


def seeds_to_show(difference: float, std: float, comparisons: int) -> int | None:
    """Return the least number of pairs for which a paired t test shows a difference with 80% power.

    Solves P(|T| > t(1 - 0.025 / m, n - 1)) >= 0.8 for n, with T noncentral by difference / std * sqrt(n) (Cohen 1988,
    chapter 2) and m the number of comparisons.

    >>> seeds_to_show(0.5, 1.0, 1)
    34

    Args:
        difference: The true mean difference, above 0.
        std: Standard deviation of the differences of pairs, above 0.
        comparisons: m, as Holm's strictest step divides the level by it.

    Returns:
        3 or more; None beyond `MOST_SEEDS`.
    """
    few, enough = 2, 3
    while _power(enough, difference / std, comparisons) < POWER:
        few, enough = enough, 2 * enough
        if few > MOST_SEEDS:
            return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _power(middle, difference / std, comparisons) >= POWER else (middle, enough)
    return enough if enough <= MOST_SEEDS else None


def _power(n: int, effect: float, comparisons: int) -> float:
    """Return the power of the test with n pairs; `effect` is the difference in standard deviations."""
    critical = stats.t.ppf(1 - ALPHA / comparisons / 2, n - 1)
    # beyond this the chance differs from 1 by nothing, and scipy knows no numbers far out
    noncentrality = min(effect * n**0.5, 100 + critical)
    return float(stats.nct.sf(critical, n - 1, noncentrality) + stats.nct.cdf(-critical, n - 1, noncentrality))
