"""Intervals for several comparisons at once."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fashionreg.studies.statistics import compare, corrected, simultaneous_intervals
from fashionreg.studies.statistics.estimates import estimate

NAN = math.nan


def studies_of(count, means, n, seed):
    """Differences `(count, variants, n)` from one reference shared by all variants, as in a study."""
    values = np.random.default_rng(seed).normal(size=(count, len(means) + 1, n))
    return values[:, 1:] - values[:, :1] + np.asarray(means, dtype=float)[:, None]


def intervals_of(differences):
    return corrected(compare(dict(enumerate(differences)), np.zeros(differences.shape[1])))


def test_simultaneous_intervals_by_hand():
    # two variants, n = 4, means 3 and 0.9 with standard deviation 1, so t is 6 and 1.8
    first = estimate(3 + np.array([-1, -1, 1, 1]) * math.sqrt(3) / 2)
    second = estimate(0.9 + np.array([-1, -1, 1, 1]) * math.sqrt(3) / 2)
    p = [2 * stats.t.sf(t, 3) for t in (6, 1.8)]
    # t(0.9875, 3) is 4.1765 in the tables of Bonferroni's t statistic
    one, two = simultaneous_intervals([first, second], p)
    assert one == pytest.approx((3 - 4.1765 / 2, 3 + 4.1765 / 2), abs=1e-4)
    assert two == pytest.approx((0.9 - 4.1765 / 2, 0.9 + 4.1765 / 2), abs=1e-4)


def test_one_comparison_has_the_t_interval():
    (differences,) = studies_of(1, [0.4], 9, seed=0)[0]
    result = intervals_of(differences[None])[0]
    assert result.simultaneous == pytest.approx((result.difference.low, result.difference.high))


def test_an_interval_excludes_0_exactly_where_holm_rejects():
    cut = 0
    for differences in studies_of(500, [0, 0.7, 1.2, -1.2, -0.9], 8, seed=1):
        bonferroni = [stats.ttest_1samp(row, 0).confidence_interval(0.99) for row in differences]
        for wide, result in zip(bonferroni, intervals_of(differences).values(), strict=True):
            low, high = result.simultaneous
            assert (low > 0 or high < 0) == (result.t_p_holm < 0.05)
            assert low <= result.difference.mean <= high
            later_step = result.t_p_holm < 0.05 and wide.low < 0 < wide.high
            cut += later_step
            if not later_step:
                assert (low, high) == pytest.approx(tuple(wide))
    # the case that makes the difference is there
    assert cut > 20


@pytest.mark.parametrize("tests", [1, 2, 3])
def test_a_p_value_at_the_boundary_and_its_interval_agree(tests):
    # an interval that ends at 0 but for rounding, from either side of 5%
    for mean in np.nextafter(1.0, [0, 2]) + np.linspace(-4, 4, 9)[:, None] * 1e-16:
        for each in mean:
            values = np.array([-1.0, 0, 1]) * each * 3**0.5 / stats.t.ppf(1 - 0.025 / tests, 2) + each
            result = compare(dict.fromkeys(range(tests), values), np.zeros(3))[0]
            assert (result.simultaneous.low > 0) == (result.t_p_holm < 0.05)


def test_what_was_not_tested_has_no_interval_and_does_not_count():
    (differences,) = studies_of(1, [1.0, 0.5], 8, seed=2)
    alone = intervals_of(differences)
    together = intervals_of(np.vstack([differences, np.full(8, 0.25)]))
    assert together[2].simultaneous == pytest.approx((NAN, NAN), nan_ok=True)
    assert [together[name].simultaneous for name in alone] == [one.simultaneous for one in alone.values()]


def test_comparisons_on_different_seeds_are_corrected_together():
    generator = np.random.default_rng(3)
    alone = {n: compare({"v": generator.normal(0.8, 1, n)}, np.zeros(n))["v"] for n in (6, 9, 20)}
    both = corrected(alone)
    assert [one.t_p_holm for one in both.values()] == pytest.approx(
        multipletests([one.t_p for one in alone.values()], method="holm")[1]
    )
    assert corrected(both) == both
    for n, one in both.items():
        half = stats.t.ppf(1 - 0.05 / 6, n - 1) * one.difference.std / n**0.5
        assert one.simultaneous.high == pytest.approx(one.difference.mean + half)


@pytest.mark.parametrize(("means", "least"), [([0] * 4, 0.95), ([3] * 4, 0.95), ([3, 3, 3, 0], 0.9125)])
def test_simultaneous_intervals_cover_what_they_promise(means, least):
    count = 800
    covered = 0
    for differences in studies_of(count, means, 10, seed=4):
        intervals = [one.simultaneous for one in intervals_of(differences).values()]
        covered += all(low <= mean <= high for (low, high), mean in zip(intervals, means, strict=True))
    assert covered / count > least - 4 * math.sqrt(least * (1 - least) / count)


@pytest.mark.parametrize("alpha", [0.2, 0.001])
def test_at_another_level_an_interval_excludes_0_exactly_where_holm_rejects(alpha):
    decided = set()
    for differences in studies_of(200, [0, 0.7, 1.2, -1.2], 8, seed=5):
        for result in corrected(compare(dict(enumerate(differences)), np.zeros(8)), alpha).values():
            assert result.simultaneous.excludes_zero == (result.t_p_holm < alpha)
            decided.add(result.simultaneous.excludes_zero)
    assert decided == {True, False}
