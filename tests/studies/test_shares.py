"""Intervals of shares."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fashionreg.studies.statistics import estimate, estimate_share, proportion_interval

NAN = math.nan


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (8123, 10_000)])
def test_proportion_interval_is_statsmodels_wilson_interval(successes, n):
    interval = proportion_interval(successes, n)
    assert interval == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    assert 0 <= interval.low < interval.high <= 1


def test_proportion_of_nothing_has_no_interval_and_impossible_counts_are_refused():
    assert proportion_interval(0, 0) == pytest.approx((NAN, NAN), nan_ok=True)
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"successes: must be from 0 to 3, got {wrong}"):
            proportion_interval(wrong, 3)


def test_share_by_hand():
    # mean 0.8, std 0.1, n = 4: standard error of the logit 0.05 / 0.16 = 0.3125, t(0.975, 3) = 3.182446
    values = 0.8 + 0.1 * np.array([-1, -1, 1, 1]) * math.sqrt(3) / 2
    result = estimate_share(values)
    ends = [1 / (1 + math.exp(-(math.log(4) + sign * 3.182446 * 0.3125))) for sign in (-1, 1)]
    assert (result.mean, result.std, result.n) == pytest.approx((0.8, 0.1, 4))
    assert (result.low, result.high) == pytest.approx(tuple(ends), rel=1e-6)


def test_share_interval_stays_within_0_to_1_where_t_does_not():
    values = [0.5, 0.99, 0.98, 0.99]
    assert estimate(values).high > 1
    assert 0 < estimate_share(values).low < np.mean(values) < estimate_share(values).high < 1
    mirrored = estimate_share(1 - np.array(values))
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(
        (estimate_share(values).low, estimate_share(values).high)
    )


def test_narrow_share_interval_is_the_t_interval():
    values = 0.85 + 1e-4 * np.random.default_rng(0).normal(size=10)
    share, plain = estimate_share(values), estimate(values)
    # they differ by the curvature of the logit: half a squared half-width times (1 - 2 mean) / (mean (1 - mean))
    half = plain.high - plain.mean
    assert (share.low, share.high) == pytest.approx((plain.low, plain.high), abs=6 * half**2)


def test_share_of_few_or_equal_values():
    for values, expected in (([], (NAN,) * 4), ([0.5], (0.5, NAN, NAN, NAN)), ([1, 1, 1], (1, 0, 1, 1))):
        result = estimate_share(values)
        assert (result.mean, result.std, result.low, result.high) == pytest.approx(expected, nan_ok=True)
    with pytest.raises(ValueError, match=r"values: must be from 0 to 1, got 1\.5"):
        estimate_share([0.5, 1.5])


def test_share_intervals_cover_95_percent_of_the_means_of_skewed_accuracies():
    count, n = 3000, 10
    values = stats.beta.rvs(30, 3, size=(count, n), random_state=np.random.default_rng(1))
    covered = np.mean([one.low <= 30 / 33 <= one.high for one in map(estimate_share, values)])
    # the skewness of single accuracies is -0.9, more than in any record of this project
    assert covered == pytest.approx(0.95, abs=0.005 + 4 * math.sqrt(0.95 * 0.05 / count))
