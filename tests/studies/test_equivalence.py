"""Equivalence, the decision, and the number of seeds that decide."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from fashionreg.studies.statistics import decide, decision_power, equivalence, seeds_to_decide

NAN, INF = math.nan, math.inf


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("n", [3, 5, 10, 40])
def test_equivalence_is_statsmodels_tost(n):
    for shift in (-2, -0.3, 0, 0.8):
        values = normal(n, n) + shift
        result = equivalence(values, 0.9)
        assert result.p == pytest.approx(DescrStatsW(values).ttost_mean(-0.9, 0.9)[0])
        assert result.interval == pytest.approx(DescrStatsW(values).tconfint_mean(0.1))


def test_equivalence_is_shown_exactly_where_the_90_percent_interval_lies_within():
    shown = 0
    for values in normal(0, 400, 8):
        result = equivalence(values, 0.8)
        assert (result.p < 0.05) == (result.interval.low > -0.8 and result.interval.high < 0.8)
        shown += result.p < 0.05
    assert 50 < shown < 350


def test_probability_within_is_that_of_simulated_posterior_means():
    values = normal(3, 7) + 0.4
    result = equivalence(values, 0.5)
    generator = np.random.default_rng(0)
    draws = 200_000
    # the variance is scaled inverse chi-square, the mean normal given the variance
    variance = 6 * values.var(ddof=1) / generator.chisquare(6, draws)
    means = generator.normal(values.mean(), np.sqrt(variance / 7))
    expected = np.mean(np.abs(means) < 0.5)
    assert result.probability_within == pytest.approx(expected, abs=4 * math.sqrt(0.25 / draws))


def test_equivalence_of_few_or_equal_values_is_not_computed():
    for values in ([], [0.1], [0.1, 0.2], [0.1] * 9, [0.0] * 9):
        result = equivalence(values, 1)
        assert math.isnan(result.p)
        assert math.isnan(result.probability_within)
    for wrong in (0, -1, NAN, INF):
        with pytest.raises(ValueError, match="relevant: must be above 0 and finite"):
            equivalence([1, 2, 3], wrong)


def test_equivalence_is_claimed_in_5_percent_at_the_edge():
    studies = 4000
    claimed = np.mean([equivalence(values, 2).p < 0.05 for values in normal(4, studies, 10) + 2])
    assert claimed == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / studies))


@pytest.mark.parametrize(
    ("difference", "p", "equivalence_p", "higher", "expected"),
    [
        (0.3, 0.01, NAN, True, "better"),
        (0.3, 0.01, NAN, False, "worse"),
        (-0.3, 0.01, 0.4, True, "worse"),
        (-0.3, 0.01, 0.4, False, "better"),
        (0.3, 0.05, 0.05, True, "undecided"),
        (0.3, NAN, NAN, True, "undecided"),
        (0.1, 0.6, 0.01, True, "equivalent"),
        (0.1, 0.01, 0.01, True, "equivalent"),
        (0.0, 0.01, NAN, True, "undecided"),
    ],
)
def test_decision(difference, p, equivalence_p, higher, expected):
    assert decide(difference, p, equivalence_p, higher_is_better=higher) == expected


def test_decision_takes_its_level():
    assert decide(1, 0.02, alpha=0.02) == "undecided"
    assert decide(1, 0.02, 0.01, alpha=0.015) == "equivalent"


@pytest.mark.parametrize("n", [3, 10, 50])
def test_power_without_equivalence_is_that_of_statsmodels(n):
    for size in (0, 0.3, 1):
        expected = TTestPower().power(size, n, 0.05) if size else 0.05
        # the integral over the spread is exact to about a millionth
        assert decision_power(n, size, 0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("n", "size", "relevant"), [(6, 0, 1.5), (10, 0.2, 1), (20, 0.6, 0.9), (10, 2, 1)])
def test_power_is_the_simulated_share_of_decisions(n, size, relevant):
    studies = 40_000
    values = normal(5, studies, n) + size
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / n**0.5
    shown = np.abs(mean) / error > stats.t.ppf(0.975, n - 1)
    same = (relevant - np.abs(mean)) / error > stats.t.ppf(0.95, n - 1)
    assert decision_power(n, size, relevant) == pytest.approx(np.mean(shown | same), abs=4 * math.sqrt(0.25 / studies))


def test_seeds_to_decide_are_the_fewest_with_80_percent_power():
    for difference, relevant in ((1, None), (0.3, 1), (0, 0.8)):
        for comparisons in (1, 4):
            seeds = int(seeds_to_decide(1.0, 10, difference, relevant, comparisons=comparisons).seeds)
            power = [decision_power(n, difference, relevant or 0, 0.05 / comparisons) for n in (seeds - 1, seeds)]
            assert power[0] < 0.8 <= power[1]
    # R's power.t.test(delta = 0.5, power = 0.8, type = "one.sample"): 33.4
    assert seeds_to_decide(2.0, 10, 1.0).seeds == 34


def test_uncertainty_of_the_number_of_seeds_is_that_of_the_spread():
    result = seeds_to_decide(2.0, 10, 1.0)
    low, high = (2.0 * math.sqrt(9 / stats.chi2.ppf(tail, 9)) for tail in (0.975, 0.025))
    assert (result.low, result.high) == (seeds_to_decide(low, 10, 1).seeds, seeds_to_decide(high, 10, 1).seeds)
    assert result.low < result.seeds < result.high


def test_no_number_of_seeds_decides_about_nothing():
    assert seeds_to_decide(1.0, 10, 0).seeds == INF
    for arguments in ((0, 10, 1), (1, 1, 1), (INF, 10, 1), (1, 10, NAN)):
        with pytest.raises(ValueError, match="expected std > 0"):
            seeds_to_decide(*arguments)
    with pytest.raises(ValueError, match="relevant"):
        seeds_to_decide(1, 10, 1, 0)
