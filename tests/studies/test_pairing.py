"""What pairing bought."""

import math

import numpy as np
import pytest
from scipy import stats

from fashionreg.studies.statistics import pairing


@pytest.mark.parametrize(("n", "shared"), [(3, 0), (10, 2), (10, -1), (50, 0)])
def test_pairing_compares_scipys_paired_interval_with_welchs(n, shared):
    variant, reference, common = np.random.default_rng(n).normal(size=(3, n))
    variant, reference = 3 * variant + shared * common, reference + abs(shared) * common
    result = pairing(variant, reference)
    assert result.correlation == pytest.approx(stats.pearsonr(variant, reference).statistic)
    paired = stats.ttest_rel(variant, reference).confidence_interval()
    welch = stats.ttest_ind(variant, reference, equal_var=False).confidence_interval()
    assert result.width_ratio == pytest.approx((paired.high - paired.low) / (welch.high - welch.low))


def test_pairing_of_perfectly_correlated_results_leaves_no_width():
    result = pairing([1, 2, 3, 4], [2, 3, 4, 5])
    assert result.correlation == pytest.approx(1)
    assert result.width_ratio == 0


@pytest.mark.parametrize(("variant", "reference"), [([], []), ([1], [2]), ([0.1] * 4, [0.2] * 4)])
def test_pairing_without_spread_or_with_few_seeds_is_not_computed(variant, reference):
    result = pairing(variant, reference)
    assert math.isnan(result.correlation)
    assert math.isnan(result.width_ratio)


def test_pairing_needs_pairs():
    assert math.isnan(pairing([0.1, 0.1, 0.1], [1, 2, 3]).correlation)
    with pytest.raises(ValueError, match="variant: has 2 seeds, the reference has 3"):
        pairing([1, 2], [1, 2, 3])
