"""A mean over crossed seeds and splits: by hand, by the analysis of variance of statsmodels, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from fashionreg.studies.statistics import compare, crossed, equivalence

HAND = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])


def test_a_table_of_two_seeds_and_three_splits_by_hand():
    # row means 3 and 5, column means 2, 3 and 7, mean 4; without interaction: MS rows 3 * 2 / 1 = 6,
    # MS columns 2 * (4 + 1 + 9) / 2 = 14, MS rest 0: variance 20 / 6, degrees of freedom 400 / (36 / 1 + 196 / 2)
    one = crossed(HAND)
    freedom = 400 / 134
    half = stats.t.ppf(0.975, freedom) * (20 / 6) ** 0.5
    assert (one.mean, one.n, one.independent) == (4, 6, False)
    assert (one.error, one.freedom) == pytest.approx(((20 / 6) ** 0.5, freedom), rel=1e-12)
    assert (one.low, one.high) == pytest.approx((4 - half, 4 + half), rel=1e-9)
    assert one.interval(0.9) == pytest.approx(stats.t.interval(0.9, freedom, 4, (20 / 6) ** 0.5), rel=1e-9)


def test_the_standard_error_is_that_of_the_analysis_of_variance():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(6, 1)) + generator.normal(size=4) + generator.normal(size=(6, 4)) / 2
    cells = [(s, j, values[s, j]) for s in range(6) for j in range(4)]
    table = anova_lm(ols("d ~ C(seed) + C(split)", pd.DataFrame(cells, columns=["seed", "split", "d"])).fit())
    seeds, splits, rest = table.mean_sq
    one = crossed(values)
    assert one.error**2 == pytest.approx((seeds + splits - rest) / 24, rel=1e-9)
    transposed = crossed(values.T)
    assert (transposed.error, transposed.freedom) == pytest.approx((one.error, one.freedom), rel=1e-12)


def test_where_seeds_add_nothing_the_interval_is_the_one_over_splits():
    # each seed has the same mean, so that MS seeds is 0
    splits, rest = np.array([0.0, 1.0, 5.0]), np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    one = crossed(splits + rest)
    assert (one.low, one.high) == pytest.approx(stats.t.interval(0.95, 2, 2, stats.sem(splits)), rel=1e-9)


def test_values_without_spread_or_with_interaction_only():
    assert (crossed(np.ones((3, 4))).low, crossed(np.ones((3, 4))).error) == (1, 0)
    one = crossed([[1.0, -1.0], [-1.0, 1.0]])
    assert (one.mean, one.error, one.freedom) == (0, 1, 1)
    assert np.isnan(crossed(np.ones((1, 4))).low)
    for wrong in (np.ones(3), [[1.0, np.nan]]):
        with pytest.raises(ValueError, match="expected finite numbers"):
            crossed(wrong)


@pytest.mark.parametrize(
    ("n", "k", "spread", "least", "most"),
    # standard deviations of seeds, splits and their interaction
    [
        (10, 5, (1, 1, 1), 0.94, 0.965),
        (10, 5, (0, 1, 1), 0.94, 0.965),
        (10, 5, (1, 0, 1), 0.94, 0.965),
        (10, 5, (0, 0, 1), 0.95, 0.985),
        # the coverage that the documentation states for few seeds and splits
        (3, 20, (1, 1, 1), 0.915, 0.965),
        (3, 3, (0, 0, 1), 0.95, 0.995),
    ],
)
def test_the_interval_covers_the_mean_over_all_seeds_and_splits(n, k, spread, least, most):
    studies = 6000
    generator, (seeds, splits, rest) = np.random.default_rng(8), spread
    values = seeds * generator.normal(size=(studies, n, 1)) + splits * generator.normal(size=(studies, 1, k))
    values = values + rest * generator.normal(size=(studies, n, k))
    found = [crossed(each) for each in values]
    covered = np.mean([one.low < 0 < one.high for one in found])
    band = 2 * (0.05 * 0.95 / studies) ** 0.5
    assert least - band < covered < most + band
    if splits:
        # taken as independent, the values promise far more than they can
        alone = stats.ttest_1samp(values.reshape(studies, -1), 0, axis=1).pvalue
        assert np.mean(alone >= 0.05) < 0.8


def test_test_and_interval_and_equivalence_agree_and_ranks_are_not_tested():
    generator = np.random.default_rng(4)
    values = (generator.normal(size=(6, 1)) + generator.normal(size=5) + generator.normal(size=(6, 5)) + 3).ravel()
    reference = generator.normal(size=30)
    found = compare({"v": values + reference}, reference, summary=lambda each: crossed(each.reshape(6, 5)))["v"]
    one = crossed(values.reshape(6, 5))
    expected = 2 * stats.t.sf(abs(one.mean) / one.error, one.freedom)
    assert found.t_p == pytest.approx(expected, rel=1e-6)
    assert found.simultaneous == pytest.approx((one.low, one.high), rel=1e-6)
    assert np.isnan(found.wilcoxon_p)
    same = equivalence(one, 4)
    assert same.p == pytest.approx(stats.t.sf((4 - abs(one.mean)) / one.error, one.freedom), rel=1e-9)
    # 80% power at the minimum detectable effect, by the noncentral t distribution
    limit = stats.t.ppf(0.975, one.freedom)
    assert stats.nct.sf(limit, one.freedom, found.detectable / one.error) == pytest.approx(0.8, abs=1e-3)


def test_one_seed_on_several_splits_has_a_mean_and_no_test():
    values = np.array([0.1, 0.4, 0.2])
    found = compare({"v": values}, np.zeros(3), summary=lambda each: crossed(each.reshape(1, 3)))["v"]
    assert found.difference.mean == pytest.approx(0.7 / 3)
    same = equivalence(found.difference, 0.5)
    unknown = (found.t_p, found.detectable, *found.simultaneous, same.p, *same.interval, same.probability_within)
    assert np.isnan(unknown).all()
