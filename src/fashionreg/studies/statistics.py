"""Intervals, paired tests, time to a target and factorial effects: pure functions of numbers over seeds.

A number that cannot be computed honestly is NaN: too few seeds, or a test that needs a spread where there is none. An
input that is not a result (NaN or infinite where a number belongs, lengths that differ) is a `ValueError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

#: The confidence level of every interval.
LEVEL = 0.95

#: The power and the significance level for which `Comparison.detectable` is stated.
POWER = 0.8
ALPHA = 0.05

#: With two seeds a t test rests on a single difference of differences.
MIN_SEEDS_T = 3

#: With fewer values the tails of a bootstrap are made of a handful of resamples.
MIN_SEEDS_BOOTSTRAP = 5

#: With fewer seeds a two-sided rank test cannot fall below 0.05 (2 / 2**5 = 0.0625), nor an interval for a median reach
#: 95% (1 - 2 / 2**5 = 0.9375).
MIN_SEEDS_RANKS = 6

#: Up to here the signed-rank test is exact; beyond, the normal distribution gives its p values to within 0.001.
MAX_SEEDS_EXACT = 200

#: Relative to the results: differences closer than this differ by rounding only (0.86 - 0.85 is not 0.75 - 0.74).
ROUNDING = 1e-12

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


@dataclass(frozen=True)
class Comparison:
    """A variant against the reference, paired by seed.

    Attributes:
        n: Number of seeds, one pair each.
        difference: Variant minus reference, in the unit of the metric; `low` and `high` are the BCa interval of
            `bootstrap_interval`, NaN for n < 5.
        t_p: Paired t test, two-sided. NaN for n < 3, and where all differences are equal but not 0 (no spread, no t).
            1 where all are 0.
        wilcoxon_p: Wilcoxon signed-rank test, two-sided, exact up to 200 seeds. NaN for n < 6, where it cannot fall
            below 0.05. 1 where all differences are 0.
        t_p_holm: `t_p` after Holm's correction over the variants compared.
        wilcoxon_p_holm: `wilcoxon_p` after Holm's correction over the variants compared.
        probability_better: 0 to 1, the share of seeds for which the variant beats the reference; ties count half. It
            estimates P(variant better than reference, same seed). NaN for n = 0.
        detectable: The smallest absolute mean difference that a two-sided paired t test at 5% would have shown with 80%
            power, given n and the spread of the differences. NaN for n < 3 or without spread.
    """

    n: int
    difference: Estimate
    t_p: float
    wilcoxon_p: float
    t_p_holm: float
    wilcoxon_p_holm: float
    probability_better: float
    detectable: float


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


@dataclass(frozen=True)
class Effect:
    """An effect of a two-level factorial study.

    Attributes:
        factors: One factor: a main effect. Two or more: their interaction.
        estimate: The effect over seeds, in the unit of the metric, with a t interval.
        p: t test of the effects of the seeds against 0, two-sided; NaN and 1 as for `Comparison.t_p`.
        p_holm: `p` after Holm's correction over all effects of the study.
    """

    factors: tuple[str, ...]
    estimate: Estimate
    p: float
    p_holm: float


def estimate(values: ArrayLike) -> Estimate:
    """The mean over seeds with its Student t interval: mean +- t(0.975, n - 1) * std / sqrt(n).

    The interval covers 95% for normal values and any n >= 2. Equal values give an interval of width 0: no spread was
    seen, which is not to say that there is none.

    Args:
        values: `(n,)`, finite, one for each seed.

    Raises:
        ValueError: If the values are not one-dimensional and finite.
    """
    values = _finite(values, "values")
    mean, std, n = _mean(values), _std(values), len(values)
    # with one value the t distribution has no degrees of freedom, and SciPy's quantile is NaN as std is
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / n**0.5 if n > 1 else np.nan
    return Estimate(mean, std, mean - half, mean + half, n)


def bootstrap_interval(values: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the mean by the bias-corrected and accelerated bootstrap, BCa (Efron 1987).

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
    values = np.sort(_finite(values, "values"))
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


def compare(
    variants: Mapping[str, ArrayLike],
    reference: ArrayLike,
    *,
    higher_is_better: bool = True,
    seed: int = 0,
    family: int | None = None,
) -> dict[str, Comparison]:
    """Compare variants with the reference, paired by seed: element i of every array belongs to the same seed.

    Wilcoxon's test drops differences of 0, gives ties their mean rank and takes the exact distribution given these
    ranks (Wilcoxon 1945; Hollander, Wolfe and Chicken 2014, section 3.1). The detectable difference solves P(|T| >
    t(1 - 0.025 / m, n - 1)) = 0.8 for a noncentral T (Cohen 1988, chapter 2), m the number of comparisons. Holm's
    correction runs over the variants whose p value was computed, for each of the two tests on its own.

    Differences that agree to 1e-12 of the largest result count as equal, so that rounding breaks no tie.

    Args:
        variants: For each variant `(n,)`, finite.
        reference: `(n,)`, finite.
        higher_is_better: True for an accuracy, False for a loss; it decides `probability_better` alone.
        seed: Of the bootstrap.
        family: How many comparisons are made in all, where these are not all: `detectable` must pass Holm's strictest
            step, 5% divided by this number.

    Returns:
        One comparison for each variant, in the same order.

    Raises:
        ValueError: If an array is not one-dimensional and finite, or not as long as the reference.
    """
    base = _finite(reference, "reference")
    differences = {}
    for name, results in variants.items():
        values = _finite(results, f"variant {name!r}")
        if len(values) != len(base):
            raise ValueError(f"variant {name!r}: has {len(values)} seeds, the reference has {len(base)}")
        scale = float(np.max(np.abs([values, base]), initial=0))
        differences[name] = _settled(values - base, ROUNDING * scale)
    t_p = [_t_p(difference) for difference in differences.values()]
    wilcoxon_p = [_wilcoxon_p(difference) for difference in differences.values()]
    corrected = zip(holm(t_p).tolist(), holm(wilcoxon_p).tolist(), strict=True)
    comparisons = {}
    alpha = ALPHA / (family or max(len(differences), 1))
    for (name, difference), t, wilcoxon, (t_holm, wilcoxon_holm) in zip(
        differences.items(), t_p, wilcoxon_p, corrected, strict=True
    ):
        n, std = len(difference), _std(difference)
        low, high = bootstrap_interval(difference, seed=seed)
        gain = difference if higher_is_better else -difference
        comparisons[name] = Comparison(
            n=n,
            difference=Estimate(_mean(difference), std, low, high, n),
            t_p=t,
            wilcoxon_p=wilcoxon,
            t_p_holm=t_holm,
            wilcoxon_p_holm=wilcoxon_holm,
            probability_better=_mean((np.sign(gain) + 1) / 2),
            detectable=_noncentrality(n, alpha) * std / n**0.5 if n > 2 and std > 0 else np.nan,
        )
    return comparisons


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
    p = _vector(p_values, "p_values")
    wrong = p[(p < 0) | (p > 1)]
    if len(wrong):
        raise ValueError(f"p_values: must be from 0 to 1 or NaN, got {wrong[0]}")
    # NaN sorts last
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def epochs_to_target(curves: ArrayLike, target: float, *, higher_is_better: bool = True) -> Floats:
    """The first epoch at which each curve reaches the target, linear between the epoch before and that epoch.

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
    """The wall time at which each seed reaches the target, linear within an epoch.

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
    when = _vector(epochs, "epochs")
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
    """The median time to a target, with a distribution-free interval.

    The interval runs from the k-th smallest to the k-th largest time, with the largest k for which it covers at least
    95% by the binomial distribution (Thompson 1936; Hollander, Wolfe and Chicken 2014, section 3.6). As k is a whole
    number it covers more than it must: 97.9% at n = 10, 95.9% at n = 20. Seeds that never reached the target are only
    known to be later, which is all that ranks need.

    Args:
        times: `(n,)`, in any unit, infinity for seeds that never reached the target.
        target: The value to be reached, kept for the reader.

    Raises:
        ValueError: If the times are not one-dimensional, or one is NaN or minus infinity.
    """
    ordered = np.sort(_vector(times, "times"))
    if np.isnan(ordered).any() or (ordered == -np.inf).any():
        raise ValueError("times: must be finite, or infinity for seeds that never reached the target")
    n = len(ordered)
    low = high = median = np.nan
    if n:
        median = float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
    if n >= MIN_SEEDS_RANKS:
        # the smallest k with P(Binomial(n, 1/2) <= k) >= 2.5%: that fewer than k times lie below the median is rarer
        k = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
        low, high = float(ordered[k - 1]), float(ordered[n - k])
    return Reaching(float(target), int(np.isfinite(ordered).sum()), n, median, low, high)


def factorial_effects(values: Mapping[tuple[int, ...], ArrayLike], factors: Sequence[str]) -> list[Effect]:
    """Main effects and interactions of a full factorial study of k factors, each off (0) or on (1), paired by seed.

    For each seed, the effect of a set of factors is the mean over the cells where the product of their signs (-1 off,
    +1 on) is +1, minus the mean over the cells where it is -1 (Montgomery, Design and Analysis of Experiments, chapter
    6). So a main effect is the mean with the factor on minus the mean with it off, over all settings of the others; the
    interaction of A and B is half the difference between the effect of A with B on and with B off.

    Contrasts within 1e-12 of the largest result count as 0, as in `compare`.

    Args:
        values: For each of the `2**k` cells, named by the levels of the factors in order, `(n,)` finite results;
            element i of every array belongs to the same seed.
        factors: The k names, all different.

    Returns:
        The `2**k - 1` effects, by number of factors, then in the order of the factors.

    Raises:
        ValueError: If a cell is missing or unknown, lengths differ, or factors are missing or repeated.
    """
    if not factors or len(set(factors)) < len(factors):
        raise ValueError(f"factors: expected one or more different names, got {list(factors)}")
    cells = list(product((0, 1), repeat=len(factors)))
    missing = [cell for cell in cells if cell not in values]
    unknown = [cell for cell in values if cell not in cells]
    if missing or unknown:
        raise ValueError(f"values: a study of {len(factors)} factors lacks cells {missing}, does not have {unknown}")
    rows = [_finite(values[cell], f"cell {cell}") for cell in cells]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"values: all cells must have the same seeds, got from {min(lengths)} to {max(lengths)}")
    results = np.stack(rows)
    tolerance = ROUNDING * float(np.max(np.abs(results), initial=0))
    signs = 2 * np.array(cells) - 1
    sets = list(_subsets(len(factors)))
    # half of the cells have sign +1, half -1: dividing by their number gives the difference of two means
    contrasts = [
        _settled(signs[:, chosen].prod(axis=1) @ results / (len(cells) // 2), tolerance) for chosen in map(list, sets)
    ]
    p = [_t_p(contrast) for contrast in contrasts]
    return [
        Effect(tuple(factors[i] for i in chosen), estimate(contrast), p_value, p_holm)
        for chosen, contrast, p_value, p_holm in zip(sets, contrasts, p, holm(p).tolist(), strict=True)
    ]


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """All non-empty subsets of 0 to `count - 1`, smaller ones first."""
    for size in range(1, count + 1):
        yield from combinations(range(count), size)


def _vector(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    return array


def _finite(values: ArrayLike, name: str) -> Floats:
    array = _vector(values, name)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{name}: must be finite, got {array[wrong[0]]} at position {wrong[0]}")
    return array


def _mean(values: Floats) -> float:
    """The mean; NaN for no values, and exactly the value where all are equal."""
    if not len(values):
        return np.nan
    return float(values[0] + np.mean(values - values[0]))


def _std(values: Floats) -> float:
    """The sample standard deviation; NaN for fewer than two values, and exactly 0 where all are equal."""
    if len(values) < 2:
        return np.nan
    # from the first value, for equal values need not equal their rounded mean
    return float(np.std(values - values[0], ddof=1))


def _settled(differences: Floats, tolerance: float) -> Floats:
    """Differences whose sizes agree within `tolerance` made equal in size, and those within it of 0 made 0."""
    # 0 heads the sorted sizes, so that a run of neighbours which begins there becomes 0
    sizes, index = np.unique(np.append(np.abs(differences), 0.0), return_inverse=True)
    starts = np.diff(sizes, prepend=-np.inf) > tolerance
    settled = sizes[starts][np.cumsum(starts) - 1]
    return np.asarray(np.sign(differences) * settled[index[:-1]], dtype=np.float64)


def _t_p(values: Floats) -> float:
    """Two-sided p value of the t test of the mean against 0."""
    n, std = len(values), _std(values)
    if n < MIN_SEEDS_T:
        return np.nan
    if std == 0:
        # all 0 is what the null hypothesis expects; all equal to another number would claim certainty from no spread
        return np.nan if values[0] else 1.0
    return float(2 * stats.t.sf(abs(_mean(values)) / std * n**0.5, n - 1))


def _wilcoxon_p(differences: Floats) -> float:
    """Two-sided p value of Wilcoxon's signed-rank test; equal sizes must be exactly equal."""
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
def _noncentrality(n: int, alpha: float) -> float:
    """The mean in standard errors that a two-sided t test with n >= 3 values shows with the stated power."""
    critical = float(stats.t.ppf(1 - alpha / 2, n - 1))

    def surplus(mean: float) -> float:
        # far out scipy knows no numbers: there nothing is left below the critical value
        above, below = stats.nct.sf(critical, n - 1, mean), stats.nct.cdf(-critical, n - 1, mean)
        return float(np.nan_to_num(above, nan=1.0) + np.nan_to_num(below, nan=0.0)) - POWER

    # at 1 the power is below 20%, far above the critical value it is nearly 1
    return float(optimize.brentq(surplus, 1, 3 * critical + 4))
