"""Collapsed and diverged seeds, interquartile mean and median."""

import math

import numpy as np
import pytest
from scipy import stats

from fashionreg.studies.statistics import estimate, interquartile_mean, median, outliers, robust

NAN, INF = math.nan, math.inf


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_outliers_by_hand():
    # median 0.85, absolute deviations 0, 0.01, 0.01, 0.02, 0.02, 0.75: their median is 0.015; 5 * 1.4826 * 0.015 = 0.11
    values = [0.84, 0.86, 0.85, NAN, 0.10, 0.87, INF, 0.85]
    result = outliers(values, 0.05)
    assert (result.collapsed, result.diverged) == ([4], [3, 6])
    assert outliers(values, 0.8).collapsed == []
    assert outliers([0.84, 0.86, 0.85, 0.74, 0.87, 0.85], 0.05).collapsed == [3]
    assert outliers([0.84, 0.86, 0.85, 0.79, 0.87, 0.85], 0.05).collapsed == []


def test_a_seed_that_is_far_better_has_not_collapsed():
    assert outliers([0.5, 0.51, 0.52, 0.5, 0.99], 0.05).collapsed == []
    assert outliers([0.5, 0.51, 0.52, 0.5, 2.99], 0.05, higher_is_better=False).collapsed == [4]


def test_equal_seeds_leave_the_margin_to_decide():
    assert outliers([0.8, 0.8, 0.8, 0.79], 0.05).collapsed == []
    assert outliers([0.8, 0.8, 0.8, 0.7], 0.05).collapsed == [3]
    assert outliers([], 0.05).collapsed == outliers([0.8], 0.05).collapsed == outliers([0.8, 0.1], 0.05).collapsed == []
    assert outliers([NAN, NAN], 0.05).diverged == [0, 1]
    with pytest.raises(ValueError, match="margin: must be 0 or more, got -1"):
        outliers([1, 2], -1)


def test_normal_seeds_hardly_ever_collapse():
    # far more often than a normal value is five deviations low: ten values estimate the deviation poorly
    flagged = sum(bool(outliers(values, 0).collapsed) for values in normal(0, 1000, 10))
    assert flagged <= 40


@pytest.mark.parametrize("n", [5, 8, 10, 11, 50])
def test_interquartile_mean_is_scipys_and_its_interval_is_what_yuens_test_does_not_reject(n):
    values = normal(n, n)
    result = interquartile_mean(values)
    assert result.mean == pytest.approx(stats.trim_mean(values, 0.25))
    # with a second sample of next to no spread Yuen's test is that of one sample: the ends are what it just rejects
    for end in (result.low, result.high):
        test = stats.ttest_ind(values, end + np.linspace(-1e-5, 1e-5, n), equal_var=False, trim=0.25)
        assert test.pvalue == pytest.approx(0.05)


@pytest.mark.parametrize("n", [6, 7, 10, 21, 80])
def test_median_interval_is_scipys_quantile_interval(n):
    values = normal(n, n)
    result = median(values)
    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    assert result.mean == np.median(values)
    assert (result.low, result.high) == (interval.low, interval.high)


def test_robust_summaries_of_few_or_equal_values():
    for n in range(5):
        assert math.isnan(interquartile_mean(normal(0, n)).low)
        assert math.isnan(median(normal(0, n)).low)
    for summary in (interquartile_mean, median):
        assert math.isnan(summary([]).mean)
        assert summary([0.1] * 9).mean == summary([0.1] * 9).low == summary([0.1] * 9).high == 0.1


@pytest.mark.parametrize("n", [8, 10, 20])
def test_trimmed_t_intervals_cover_95_percent_of_normal_means(n):
    studies = 3000
    covered = np.mean([one.low <= 0 <= one.high for one in map(interquartile_mean, normal(n, studies, n))])
    # the trimmed t statistic has a t distribution in approximation only: 93.5% at n = 8
    assert covered == pytest.approx(0.95, abs=0.015 + 4 * math.sqrt(0.95 * 0.05 / studies))


def test_one_collapsed_seed_makes_mean_and_median_disagree():
    steady = 1 + 0.1 * normal(1, 10)
    assert not robust(steady).disagree
    collapsed = np.append(steady[:-1], -15)
    result = robust(collapsed)
    assert result.mean == estimate(collapsed)
    assert result.mean.low < 0 < result.median.low < result.interquartile_mean.low + 1
    assert result.disagree
    assert robust(-collapsed).disagree


def test_a_summary_without_interval_gives_no_answer():
    assert not robust([1.0, 1.1, 0.9, 1.2]).disagree
