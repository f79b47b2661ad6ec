"""Smoothing, staying at a target, the log-rank test and the restricted mean time."""

import math

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from fashionreg.studies.statistics import (
    holm,
    log_rank,
    restricted_mean,
    smoothed,
)

NAN, INF = math.nan, math.inf


def arrivals(seed, n, scale, end=20.0):
    times = np.random.default_rng(seed).exponential(scale, n)
    return np.where(times > end, INF, times)


def events(times, end=20.0):
    return np.minimum(times, end), np.isfinite(times)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_smoothed_curve_is_pandas_centered_mean_where_the_window_fits(window):
    curves = np.random.default_rng(0).normal(size=(4, 12))
    expected = pd.DataFrame(curves.T).rolling(window, center=True).mean().to_numpy().T
    inside = ~np.isnan(expected)
    assert smoothed(curves, window)[inside] == pytest.approx(expected[inside])


def test_smoothing_delays_no_line_and_keeps_the_first_and_the_last_epoch():
    line = np.arange(9.0)[None]
    assert smoothed(line, 5) == pytest.approx(line)
    curves = np.random.default_rng(1).normal(size=(3, 6))
    assert np.array_equal(smoothed(curves, 99)[:, [0, -1]], curves[:, [0, -1]])
    assert smoothed(np.empty((2, 0)), 3).shape == (2, 0)


@pytest.mark.parametrize(
    ("curves", "window", "fault"), [([[1.0]], 2, "window"), ([[1.0]], -1, "window"), ([1], 3, "curves")]
)
def test_smoothing_refuses_what_has_no_middle(curves, window, fault):
    with pytest.raises(ValueError, match=f"{fault}: "):
        smoothed(curves, window)


# lifelines 0.30 calls pandas as pandas 4 will no longer allow
@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
@pytest.mark.parametrize(("n", "m"), [(11, 10), (11, 11), (30, 12)])
def test_log_rank_test_of_many_seeds_is_that_of_lifelines(n, m):
    reference = arrivals(1, m, 12)
    # whole epochs make ties
    variants = {scale: arrivals(scale, n, scale) for scale in (3, 12, 40)} | {"ties": np.ceil(arrivals(9, n, 6))}
    results = log_rank(variants, np.ceil(reference))
    for name, times in variants.items():
        (one, seen), (two, seen_two) = events(times), events(np.ceil(reference))
        expected = logrank_test(one, two, seen, seen_two).p_value
        assert results[name][0] == pytest.approx(expected)
    assert [adjusted for _, adjusted in results.values()] == pytest.approx(holm([p for p, _ in results.values()]))


def arrivals_above_expected(one, two):
    """By hand: at each arrival, those of the first group minus its share of all who are still under way."""
    both, excess = [*one, *two], 0.0
    for time in sorted({t for t in both if t < INF}):
        share = sum(t >= time for t in one) / sum(t >= time for t in both)
        excess += sum(t == time for t in one) - share * sum(t == time for t in both)
    return excess


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (4, 6)])
def test_log_rank_test_of_few_seeds_is_the_permutation_test_of_scipy(n, m):
    reference = np.ceil(arrivals(1, m, 12))
    variants = {scale: arrivals(scale, n, scale) for scale in (3, 12, 40)} | {"ties": np.ceil(arrivals(9, n, 6))}
    results = log_rank(variants, reference)
    for name, times in variants.items():
        expected = stats.permutation_test(
            (times, reference), lambda a, b: round(abs(arrivals_above_expected(a, b)), 9), alternative="greater"
        ).pvalue
        assert results[name][0] == pytest.approx(expected, rel=1e-12), name
    assert [adjusted for _, adjusted in results.values()] == pytest.approx(holm([p for p, _ in results.values()]))


def test_log_rank_test_cannot_be_surer_than_the_number_of_divisions_of_the_seeds():
    # by the normal distribution three seeds that are all sooner than three others would have p = 0.025
    assert log_rank({"v": [1.0, 2.0, 3.0]}, [4.0, 5.0, INF])["v"][0] == pytest.approx(2 / math.comb(6, 3))
    assert log_rank({"v": [1.0] * 10}, [INF] * 10)["v"][0] == pytest.approx(2 / math.comb(20, 10))


def test_log_rank_test_of_groups_that_say_nothing():
    results = log_rank({"never": [INF] * 4, "none": [], "same": [3.0] * 5, "late": [5.0, INF, INF, INF]}, [INF] * 5)
    assert math.isnan(results["never"][0])
    assert math.isnan(results["none"][0])
    assert results["late"][0] > 0.2
    assert log_rank({"same": [3.0] * 5}, [3.0] * 5)["same"] == (1, 1)
    with pytest.raises(ValueError, match="variant 'v': must be 0 or more, or infinity .*, got nan"):
        log_rank({"v": [NAN]}, [1.0])


@pytest.mark.parametrize("n", [3, 5, 7])
def test_log_rank_test_errs_in_at_most_5_percent(n):
    studies, rejected = 1000, 0
    for seed in range(studies):
        times = arrivals(seed, 2 * n, 15)
        rejected += log_rank({"v": times[:n]}, times[n:])["v"][0] < 0.05
    assert rejected / studies < 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("scale", [5, 15, 60])
def test_restricted_mean_is_that_of_lifelines(scale):
    times = arrivals(scale, 25, scale)
    fitted = KaplanMeierFitter().fit(*events(times))
    assert restricted_mean(times, 20).mean == pytest.approx(restricted_mean_survival_time(fitted, t=20.0))
    # variance of the restricted time: twice the integral of t S(t) minus the squared mean, S in steps
    steps = fitted.survival_function_.iloc[:, 0]
    edges = np.append(steps.index.to_numpy(), 20.0)
    variance = np.sum(np.diff(edges**2) * steps.to_numpy()) - np.sum(np.diff(edges) * steps.to_numpy()) ** 2
    assert restricted_mean(times, 20).std ** 2 * 24 / 25 == pytest.approx(variance)


def test_restricted_mean_where_no_seed_arrives_is_the_end():
    result = restricted_mean([INF] * 6, 30)
    assert (result.mean, result.low, result.high) == (30, 30, 30)
    for wrong in (0, INF, NAN):
        with pytest.raises(ValueError, match="end: must be above 0 and finite"):
            restricted_mean([1.0], wrong)
