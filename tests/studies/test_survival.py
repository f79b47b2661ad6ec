"""Smoothing, staying at a target, the log-rank test and the restricted mean time."""

import math

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time

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
@pytest.mark.parametrize(("n", "m"), [(5, 5), (10, 10), (30, 12)])
def test_log_rank_test_is_that_of_lifelines(n, m):
    reference = arrivals(1, m, 12)
    # whole epochs make ties
    variants = {scale: arrivals(scale, n, scale) for scale in (3, 12, 40)} | {"ties": np.ceil(arrivals(9, n, 6))}
    results = log_rank(variants, np.ceil(reference))
    for name, times in variants.items():
        (one, seen), (two, seen_two) = events(times), events(np.ceil(reference))
        expected = logrank_test(one, two, seen, seen_two).p_value
        assert results[name][0] == pytest.approx(expected)
    assert [adjusted for _, adjusted in results.values()] == pytest.approx(holm([p for p, _ in results.values()]))


def test_log_rank_test_of_groups_that_say_nothing():
    results = log_rank({"never": [INF] * 4, "none": [], "same": [3.0] * 5, "late": [5.0, INF, INF, INF]}, [INF] * 5)
    assert math.isnan(results["never"][0])
    assert math.isnan(results["none"][0])
    assert results["late"][0] > 0.2
    assert log_rank({"same": [3.0] * 5}, [3.0] * 5)["same"] == (1, 1)
    with pytest.raises(ValueError, match="variant 'v': must be 0 or more, or infinity .*, got nan"):
        log_rank({"v": [NAN]}, [1.0])


def test_log_rank_test_errs_in_about_5_percent_with_ten_seeds():
    studies = 1000
    rejected = 0
    for seed in range(studies):
        times = arrivals(seed, 20, 15)
        rejected += log_rank({"v": times[:10]}, times[10:])["v"][0] < 0.05
    # the normal distribution is approximate: exchangeable arms of ten reject in 5 to 6%
    assert 0.03 < rejected / studies < 0.06 + 4 * math.sqrt(0.06 / studies)


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
