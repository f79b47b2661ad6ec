import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from fashionreg.studies.statistics import (
    compare,
    comparisons,
    epochs_to_target,
    estimate,
    factorial_effects,
    holm,
    reaching,
    simultaneous_intervals,
    time_to_target,
)

NAN, INF = math.nan, math.inf


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def against_zero(differences, **options):
    """The comparison of a variant that differs from the reference by exactly these numbers."""
    return compare({"variant": differences}, np.zeros(len(differences)), **options)["variant"]


def numbers(result):
    """All numbers of a dataclass as one array, NaN included."""
    fields = asdict(result)
    parts = [*fields.pop("difference", {}).values(), *fields.pop("simultaneous", ()), *fields.values()]
    return np.array(parts, dtype=float)


def band(share, studies):
    """Four standard errors of a simulated share: a correct function leaves the band once in 16,000 choices of seed."""
    return 4 * math.sqrt(share * (1 - share) / studies)


def brute_force_wilcoxon(differences):
    """Two-sided p value by trying all signs: how often the rank sum is as far from its mean as the one observed."""
    differences = differences[differences != 0]
    ranks = stats.rankdata(np.abs(differences))
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((-1, 1), repeat=len(ranks))])
    return np.mean(np.abs(sums) >= abs(np.dot(np.sign(differences), ranks)))


# --- estimate ---------------------------------------------------------------------------------------------------------


def test_estimate_by_hand():
    # deviations -2, 0, 0, 2: variance 8 / 3; the 97.5% point of t with 3 degrees of freedom is 3.18245 in any table
    result = estimate([1, 3, 3, 5])
    half = 3.182446 * math.sqrt(8 / 3) / 2
    assert numbers(result) == pytest.approx([3, math.sqrt(8 / 3), 3 - half, 3 + half, 4], rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 10, 200])
def test_estimate_agrees_with_scipy(n):
    values = normal(n, n)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert numbers(estimate(values)) == pytest.approx([values.mean(), values.std(ddof=1), low, high, n])


def test_estimate_of_few_values_is_not_computed():
    assert numbers(estimate([])) == pytest.approx([NAN, NAN, NAN, NAN, 0], nan_ok=True)
    assert numbers(estimate([0.5])) == pytest.approx([0.5, NAN, NAN, NAN, 1], nan_ok=True)


def test_estimate_of_equal_values_has_exactly_no_spread():
    # the mean of ten times 0.1 rounds to something else
    assert numbers(estimate([0.1] * 10)).tolist() == [0.1, 0, 0.1, 0.1, 10]


def test_estimate_moves_and_stretches_with_the_values_and_does_not_see_their_order():
    values = normal(0, 12)
    result = numbers(estimate(values))
    assert numbers(estimate(values + 5)) == pytest.approx(np.add(result, [5, 0, 5, 5, 0]))
    assert numbers(estimate(values * 100)) == pytest.approx(result * [100, 100, 100, 100, 1])
    assert numbers(estimate(-values)) == pytest.approx(result[[0, 1, 3, 2, 4]] * [-1, 1, -1, -1, 1])
    assert numbers(estimate(values[::-1])) == pytest.approx(result)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([1, NAN], "must be finite, got nan at position 1"),
        ([-INF, 1], "must be finite, got -inf at position 0"),
        ([[1, 2]], r"expected one dimension, got shape \(1, 2\)"),
        (1.0, r"expected one dimension, got shape \(\)"),
    ],
)
def test_values_that_are_no_results_are_refused(values, fault):
    with pytest.raises(ValueError, match=f"values: {fault}"):
        estimate(values)


def test_t_intervals_cover_95_percent_of_normal_means():
    studies = 3000
    intervals = [estimate(values) for values in normal(1, studies, 10)]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=band(0.95, studies))


# --- compare ----------------------------------------------------------------------------------------------------------


def test_comparison_by_hand():
    # differences 1, 2, 3, 4, 5, -6: mean 1.5, variance (0.25 + 0.25 + 2.25 + 6.25 + 12.25 + 56.25) / 5 = 15.5.
    # Negative ranks sum to 6; of the 64 choices of ranks 14 sum to 6 or less: {}, 1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 23,
    # 24, 123. So p = 28 / 64. Five of six seeds are better.
    result = compare({"v": [11, 12, 13, 14, 15, 4]}, [10] * 6)["v"]
    assert result.n == 6
    assert result.difference.mean == pytest.approx(1.5)
    assert result.difference.std == pytest.approx(math.sqrt(15.5))
    assert result.wilcoxon_p == result.wilcoxon_p_holm == 28 / 64
    assert result.probability_better == pytest.approx(5 / 6)


@pytest.mark.parametrize("n", [3, 5, 10, 50])
def test_t_test_is_scipys_paired_t_test(n):
    variant, reference = normal(n, 2, n)
    variant += 0.3
    assert compare({"v": variant}, reference)["v"].t_p == pytest.approx(stats.ttest_rel(variant, reference).pvalue)


@pytest.mark.parametrize("n", [6, 7, 10, 12])
def test_wilcoxon_test_counts_all_signs(n):
    for seed in range(3):
        distinct = normal(seed, n) + 0.4
        assert against_zero(distinct).wilcoxon_p == pytest.approx(brute_force_wilcoxon(distinct))
        # steps of 1: ties and zeros
        tied = np.round(distinct * 2)
        assert against_zero(tied).wilcoxon_p == pytest.approx(brute_force_wilcoxon(tied))


@pytest.mark.parametrize("n", [6, 20, 50])
def test_wilcoxon_test_is_scipys_exact_test_where_nothing_ties(n):
    differences = normal(n, n) + 0.2
    assert against_zero(differences).wilcoxon_p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_wilcoxon_test_of_many_seeds_goes_over_to_the_normal_distribution(monkeypatch):
    for seed in range(5):
        differences = normal(seed, 201) + 0.1
        approximate = against_zero(differences).wilcoxon_p
        monkeypatch.setattr(comparisons, "MAX_SEEDS_EXACT", 201)
        exact = against_zero(differences).wilcoxon_p
        monkeypatch.undo()
        assert approximate != exact
        assert approximate == pytest.approx(exact, abs=1e-3)


def test_rounding_breaks_no_tie_and_makes_no_difference():
    # in units of 0.0001 as accuracies of 10,000 images are; the same numbers in float are off by 1e-17 and more
    steps = np.array([12, -12, 12, 0, 12, -7, 7, 3, 12, 0])
    reference = np.random.default_rng(0).integers(4000, 9000, len(steps))
    result = compare({"v": (reference + steps) / 10_000}, reference / 10_000)["v"]
    assert len(set((reference + steps) / 10_000 - reference / 10_000)) > len(set(steps))
    assert result.wilcoxon_p == pytest.approx(brute_force_wilcoxon(steps))
    assert result.probability_better == 0.7
    same = compare({"v": (reference + 12) / 10_000}, reference / 10_000)["v"]
    assert same.difference.std == 0
    assert math.isnan(same.t_p)
    assert same.difference.low == same.difference.high == pytest.approx(0.0012)


def test_comparison_of_few_seeds_is_not_computed():
    counted = {0: {"n"}, 1: {"n", "mean", "probability_better"}}
    counted[2] = counted[1] | {"std", "low", "high"}
    counted[3] = counted[5] = counted[2] | {"simultaneous", "t_p", "t_p_holm", "detectable"}
    counted[6] = counted[5] | {"wilcoxon_p", "wilcoxon_p_holm"}
    for n, names in counted.items():
        fields = asdict(against_zero(normal(0, n)))
        fields |= fields.pop("difference")
        assert {name for name, value in fields.items() if not np.isnan(value).any()} == names


def test_variant_that_never_differs_is_no_evidence():
    result = compare({"v": [0.1, 0.7, 0.3, 0.5, 0.9, 0.8]}, [0.1, 0.7, 0.3, 0.5, 0.9, 0.8])["v"]
    assert numbers(result) == pytest.approx([0, 0, 0, 0, 6, 0, 0, 6, 1, 1, 1, 1, 0.5, NAN], nan_ok=True)


def test_differences_without_spread_allow_no_t_test():
    result = against_zero([0.25] * 6)
    expected = [0.25, 0, 0.25, 0.25, 6, NAN, NAN, 6, NAN, 2 / 64, NAN, 2 / 64, 1, NAN]
    assert numbers(result) == pytest.approx(expected, nan_ok=True)


def test_zeros_leave_the_wilcoxon_test_but_not_the_seeds():
    result = against_zero([0, 0, 0, 0, 0, 0, 1, 2, 3])
    assert result.wilcoxon_p == 2 / 2**3
    assert result.probability_better == pytest.approx((3 + 6 / 2) / 9)


def test_interval_of_a_comparison_is_scipys_paired_t_interval():
    for n in (2, 3, 12):
        variant, reference = normal(4, 2, n)
        difference = compare({"v": variant}, reference)["v"].difference
        expected = stats.ttest_rel(variant, reference).confidence_interval(0.95)
        assert (difference.low, difference.high) == pytest.approx(tuple(expected))


def test_comparison_ignores_what_variant_and_reference_share_and_the_order_of_seeds():
    variant, reference, shared = normal(6, 3, 14)
    result = numbers(compare({"v": variant}, reference)["v"])
    assert numbers(compare({"v": variant + shared}, reference + shared)["v"]) == pytest.approx(result)
    order = np.random.default_rng(0).permutation(14)
    assert numbers(compare({"v": variant[order]}, reference[order])["v"]) == pytest.approx(result)
    # scaling: the difference (mean, std, low, high), the interval and what is detectable are in the unit of the metric
    units = np.array([100] * 4 + [1] + [100] * 2 + [1] * 6 + [100])
    assert numbers(compare({"v": variant * 100}, reference * 100)["v"]) == pytest.approx(result * units)


def test_direction_of_better_decides_only_who_is_better():
    differences = np.array([1.0, 2, -0.5, 0, 3, 1.5, 0])
    higher, lower = against_zero(differences), against_zero(differences, higher_is_better=False)
    assert (higher.probability_better, lower.probability_better) == pytest.approx((5 / 7, 2 / 7))
    assert {**asdict(higher), "probability_better": 0} == {**asdict(lower), "probability_better": 0}
    assert against_zero(-differences, higher_is_better=False).probability_better == higher.probability_better
    assert against_zero(-differences).t_p == pytest.approx(higher.t_p)
    assert against_zero(-differences).wilcoxon_p == pytest.approx(higher.wilcoxon_p)


def test_comparisons_are_corrected_over_the_variants_compared():
    reference, *results = normal(7, 6, 12) + np.array([[0], [0.2], [0.5], [0.8], [1.1], [0]])
    variants = dict(zip("abcde", results, strict=True)) | {"offset": reference + 0.5}
    together = compare(variants, reference)
    assert list(together) == [*"abcde", "offset"]
    assert math.isnan(together["offset"].t_p_holm)
    for name in "abcde":
        alone = compare({name: variants[name]}, reference)[name]
        assert alone.t_p_holm == alone.t_p == together[name].t_p
        assert alone.difference == together[name].difference
    for test in ("t_p", "wilcoxon_p"):
        p = [getattr(result, test) for result in together.values()]
        corrected = [getattr(result, f"{test}_holm") for result in together.values()]
        assert corrected == pytest.approx(holm(p), nan_ok=True)
        assert np.nanmin(corrected) == pytest.approx(np.nanmin(p) * np.count_nonzero(~np.isnan(p)))


def test_variants_that_cannot_be_paired_are_named():
    assert compare({}, [1, 2, 3]) == {}
    with pytest.raises(ValueError, match="variant 'dropout': has 2 seeds, the reference has 3"):
        compare({"dropout": [1, 2]}, [1, 2, 3])
    with pytest.raises(ValueError, match="variant 'dropout': must be finite, got nan at position 0"):
        compare({"dropout": [NAN, 2]}, [1, 2])
    with pytest.raises(ValueError, match="reference: must be finite, got inf at position 1"):
        compare({"dropout": [1, 2]}, [1, INF])


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_detectable_difference_is_shown_with_80_percent_power(n):
    # a sample scaled to a standard deviation of exactly 1 states what is detectable if the true one is 1
    sample = normal(n, n)
    detectable = against_zero(sample / sample.std(ddof=1)).detectable
    studies = 100_000
    simulated = normal(100 + n, studies, n) + detectable
    t = simulated.mean(axis=1) / simulated.std(axis=1, ddof=1) * n**0.5
    shown = np.mean(np.abs(t) > stats.t.ppf(0.975, n - 1))
    assert shown == pytest.approx(0.8, abs=band(0.8, studies))


def test_detectable_difference_agrees_with_published_sample_sizes():
    # R's power.t.test(power = 0.8, type = "paired") asks for 33.4 pairs at 0.5 standard deviations, 14.3 at 0.8
    for n, standardised in ((34, 0.5), (15, 0.8)):
        enough, one_fewer = (against_zero(np.tile([-1.0, 1.0], m)[:m]) for m in (n, n - 1))
        assert enough.detectable / enough.difference.std <= standardised
        assert one_fewer.detectable / one_fewer.difference.std > standardised


# --- Holm -------------------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    # ascending 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04: the last is raised to 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.6]).tolist() == [1, 1]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])


def test_holm_rejects_what_the_step_down_procedure_rejects():
    generator = np.random.default_rng(0)
    for _ in range(200):
        p = generator.uniform(size=generator.integers(1, 8)) ** 3
        for alpha in (0.01, 0.05, 0.2):
            rejected = set()
            for step, index in enumerate(np.argsort(p)):
                if p[index] > alpha / (len(p) - step):
                    break
                rejected.add(index)
            assert set(np.flatnonzero(holm(p) <= alpha)) == rejected


def test_holm_skips_what_was_not_computed_and_keeps_the_order():
    assert holm([NAN, 0.04, NAN, 0.01]) == pytest.approx([NAN, 0.04, NAN, 0.02], nan_ok=True)
    assert np.isnan(holm([NAN, NAN])).all()
    assert holm([]).shape == (0,)
    p = np.random.default_rng(1).uniform(size=9) / 10
    order = np.random.default_rng(2).permutation(9)
    assert np.array_equal(holm(p[order]), holm(p)[order])


@pytest.mark.parametrize("wrong", [-0.1, 1.5, INF])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(ValueError, match=f"p_values: must be from 0 to 1 or NaN, got {wrong}"):
        holm([0.5, wrong])


def test_corrected_tests_of_four_idle_variants_mislead_in_at_most_5_percent_of_studies():
    studies = 600
    found = {"t_p": 0, "wilcoxon_p": 0, "t_p_holm": 0, "wilcoxon_p_holm": 0}
    for reference, *results in normal(8, studies, 5, 10):
        comparisons = compare(dict(zip("abcd", results, strict=True)), reference).values()
        for test in found:
            found[test] += min(getattr(result, test) for result in comparisons) <= 0.05
    shares = {test: count / studies for test, count in found.items()}
    # uncorrected, independent tests would mislead in 1 - 0.95**4 = 19%; a shared reference makes it somewhat fewer
    assert min(shares["t_p"], shares["wilcoxon_p"]) > 0.1
    assert max(shares["t_p_holm"], shares["wilcoxon_p_holm"]) < 0.05 + band(0.05, studies)


# --- time to a target -------------------------------------------------------------------------------------------------


def test_epochs_to_target_by_hand():
    curves = [
        [0.9, 0.9, 0.9, 0.9],  # there at the first epoch
        [0.5, 0.7, 0.9, 0.9],  # half way between epochs 2 and 3
        [0.5, 0.8, 0.6, 0.9],  # exactly at epoch 2, whatever comes later
        [0.5, 0.7, 0.75, 0.79],  # never
        [0.7, 0.5, 0.4, 0.9],  # 4/5 of the way from epoch 3 to 4
    ]
    assert epochs_to_target(curves, 0.8) == pytest.approx([1, 2.5, 2, INF, 3.8])


def test_epochs_to_target_mirror_where_lower_is_better():
    curves = normal(9, 40, 30).cumsum(axis=1)
    assert np.array_equal(epochs_to_target(curves, 2.0), epochs_to_target(-curves, -2.0, higher_is_better=False))
    assert epochs_to_target([[2.0, 1.0, 0.5]], 0.75, higher_is_better=False) == pytest.approx([2.5])


def test_epochs_to_target_are_where_the_interpolated_curve_first_crosses():
    curves = normal(10, 40, 20).cumsum(axis=1)
    fine = np.arange(1, 20.0005, 0.001)
    for curve, epoch in zip(curves, epochs_to_target(curves, 2.0), strict=True):
        crossed = np.flatnonzero(np.interp(fine, np.arange(1, 21), curve) >= 2)
        assert epoch == pytest.approx(fine[crossed[0]] if len(crossed) else INF, abs=0.0011)


def test_epochs_to_target_only_grow_with_the_target():
    curves = normal(11, 20, 15).cumsum(axis=1)
    epochs = np.array([epochs_to_target(curves, target) for target in (0, 0.5, 1, 2, 4)])
    assert (epochs[1:] >= epochs[:-1]).all()


def test_diverged_networks_do_not_reach_a_target():
    curves = [[0.5, NAN, NAN], [NAN, 0.9, 0.9], [-INF, INF, 0.9]]
    assert epochs_to_target(curves, 0.8).tolist() == [INF, 2, 2]
    assert epochs_to_target([[INF, 3, 1]], 2, higher_is_better=False).tolist() == [2.5]


def test_epochs_to_target_of_nothing():
    assert epochs_to_target(np.empty((3, 0)), 0.8).tolist() == [INF] * 3
    assert epochs_to_target(np.empty((0, 5)), 0.8).shape == (0,)


def test_curves_and_targets_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match=r"curves: expected \(seeds, epochs\), got shape \(2,\)"):
        epochs_to_target([0.1, 0.2], 0.8)
    with pytest.raises(ValueError, match="target: must be finite, got nan"):
        epochs_to_target([[0.1, 0.2]], NAN)


def test_time_to_target_by_hand():
    assert time_to_target([1, 1.5, 2.25, 3, INF], [4, 2, 8]).tolist() == [4, 5, 8, 14, INF]
    assert time_to_target([1.5, 3], [[4, 2, 8], [1, 2, 3]]).tolist() == [5, 6]
    assert time_to_target([], [4, 2]).shape == (0,)
    assert time_to_target([INF], []).tolist() == [INF]


def test_time_to_target_with_even_epochs_is_epochs_times_seconds():
    epochs = epochs_to_target(normal(12, 30, 20).cumsum(axis=1), 1.0)
    assert time_to_target(epochs, [2.5] * 20) == pytest.approx(epochs * 2.5)
    assert np.array_equal(time_to_target(epochs, [2.5] * 20), time_to_target(epochs, np.full((30, 20), 2.5)))


@pytest.mark.parametrize(
    ("epochs", "seconds", "fault"),
    [
        ([3.5], [1, 1, 1], "epochs: must be from 1 to 3, or infinity, got 3.5"),
        ([0.5], [1, 1, 1], "epochs: must be from 1 to 3, or infinity, got 0.5"),
        ([NAN], [1, 1, 1], "epochs: must be from 1 to 3, or infinity, got nan"),
        ([-INF], [1, 1, 1], "epochs: must be from 1 to 3, or infinity, got -inf"),
        ([1, 2], [[1, 1, 1]], r"seconds: expected \(epochs,\) or \(2, epochs\), got shape \(1, 3\)"),
        ([1], 1.0, r"seconds: expected \(epochs,\) or \(1, epochs\), got shape \(\)"),
        ([1], [1, NAN], "seconds: must be finite and 0 or more"),
        ([1], [1, -1], "seconds: must be finite and 0 or more"),
    ],
)
def test_times_that_mean_nothing_are_refused(epochs, seconds, fault):
    with pytest.raises(ValueError, match=fault):
        time_to_target(epochs, seconds)


# --- reaching ---------------------------------------------------------------------------------------------------------


def test_reaching_by_hand():
    # n = 10: P(Binomial(10, 1/2) <= 1) = 11 / 1024 = 1.1%, <= 2: 5.5%: the interval runs from the 2nd to the 9th time
    result = reaching([7, 3, 5, INF, 1, 9, 2, 4, 6, 8], target=0.8)
    assert asdict(result) == {"target": 0.8, "reached": 9, "n": 10, "median": 5.5, "low": 2, "high": 9}


def test_seeds_that_never_reach_the_target_are_later_than_all_others():
    result = reaching([1, 2, 3, 4, 5, INF, INF, INF], target=0.8)
    assert numbers(result).tolist() == [0.8, 5, 8, 4.5, 1, INF]
    # as the ranks are all that counts, so are very late times
    late = reaching([1, 2, 3, 4, 5, 1e6, 1e6, 1e6], target=0.8)
    assert (late.median, late.low) == (result.median, result.low)
    assert reaching([1, 2, INF, INF], target=0.8).median == INF
    assert reaching([1, 2, INF], target=0.8).median == 2
    assert numbers(reaching([INF] * 6, target=0.8)).tolist() == [0.8, 0, 6, INF, INF, INF]


def test_reaching_of_few_seeds_has_no_interval():
    assert numbers(reaching([], target=0.8)) == pytest.approx([0.8, 0, 0, NAN, NAN, NAN], nan_ok=True)
    assert numbers(reaching([4, 2, 9, 3, 1], target=0.8)) == pytest.approx([0.8, 5, 5, 3, NAN, NAN], nan_ok=True)
    assert numbers(reaching([4, 2, 9, 3, 1, 5], target=0.8)).tolist() == [0.8, 6, 6, 3.5, 1, 9]


def test_reaching_follows_any_change_of_scale():
    times = np.random.default_rng(13).exponential(size=21)
    result, squared = numbers(reaching(times, 0.8)), numbers(reaching(times**2, 0.8))
    assert squared[3:] == pytest.approx(result[3:] ** 2)


@pytest.mark.parametrize("wrong", [NAN, -INF])
def test_reaching_refuses_what_is_no_time(wrong):
    with pytest.raises(ValueError, match="times: must be finite, or infinity"):
        reaching([1, wrong], 0.8)


@pytest.mark.parametrize("n", [6, 7, 10, 11, 20, 101])
def test_order_statistic_intervals_cover_at_least_95_percent_and_no_more_than_they_must(n):
    # ranks as times: the interval's ends are their own places, and their coverage is a sum of binomial coefficients
    result = reaching(np.arange(1, n + 1), 0)
    first = int(result.low)
    assert result.high == n + 1 - first

    def coverage(place):
        return 1 - 2 * sum(math.comb(n, i) for i in range(place)) / 2**n

    assert coverage(first) >= 0.95 > coverage(first + 1)
    studies = 2000
    # log-normal times have median 1; a fifth of the seeds never get there
    times = np.exp(normal(n, studies, n))
    times[times > np.exp(stats.norm.ppf(0.8))] = INF
    intervals = [reaching(row, 0) for row in times]
    covered = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    assert covered == pytest.approx(coverage(first), abs=band(coverage(first), studies))


# --- factorial effects ------------------------------------------------------------------------------------------------


def test_factorial_effects_of_two_factors_by_hand():
    values = {
        (0, 0): [10, 11, 12],
        (1, 0): [14, 15, 19],  # A alone: 4, 4, 7
        (0, 1): [12, 14, 15],  # B alone: 2, 3, 3
        (1, 1): [20, 20, 26],  # A where B is on: 8, 6, 11
    }
    a, b, ab = factorial_effects(values, ["A", "B"])
    assert [effect.factors for effect in (a, b, ab)] == [("A",), ("B",), ("A", "B")]
    # A: (4 + 8) / 2, (4 + 6) / 2, (7 + 11) / 2; AB: (8 - 4) / 2, (6 - 4) / 2, (11 - 7) / 2
    # B: 2 and 20 - 14, 3 and 20 - 15, 3 and 26 - 19, halved
    for effect, seeds in ((a, [6, 5, 9]), (b, [4, 4, 5]), (ab, [2, 1, 2])):
        assert numbers(effect.estimate) == pytest.approx(numbers(estimate(seeds)))
        assert effect.p == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue)
    assert [effect.p_holm for effect in (a, b, ab)] == pytest.approx(holm([a.p, b.p, ab.p]))
    intervals = simultaneous_intervals([effect.estimate for effect in (a, b, ab)], [a.p, b.p, ab.p])
    assert [effect.simultaneous for effect in (a, b, ab)] == intervals


def test_factorial_effects_are_twice_the_coefficients_of_a_regression():
    factors = ["bn", "dropout", "decay"]
    cells = list(itertools.product((0, 1), repeat=3))
    values = dict(zip(cells, normal(14, 8, 6), strict=True))
    effects = factorial_effects(values, factors)
    assert [effect.factors for effect in effects] == [
        ("bn",),
        ("dropout",),
        ("decay",),
        ("bn", "dropout"),
        ("bn", "decay"),
        ("dropout", "decay"),
        ("bn", "dropout", "decay"),
    ]
    levels = {name: np.array([2 * cell[i] - 1 for cell in cells]) for i, name in enumerate(factors)}
    design = [np.prod([levels[name] for name in effect.factors], axis=0) for effect in effects]
    means = np.array([values[cell].mean() for cell in cells])
    coefficients = np.linalg.lstsq(np.column_stack([np.ones(8), *design]), means, rcond=None)[0]
    assert [effect.estimate.mean for effect in effects] == pytest.approx(2 * coefficients[1:])


def test_effect_of_one_factor_is_its_comparison_with_the_reference():
    off, on = normal(15, 2, 9)
    (effect,) = factorial_effects({(1,): on, (0,): off}, ["bn"])
    comparison = compare({"bn": on}, off)["bn"]
    assert effect.estimate.mean == pytest.approx(comparison.difference.mean)
    assert effect.p == effect.p_holm == pytest.approx(comparison.t_p)


def test_effects_that_add_up_do_not_interact():
    # in decimals that float cannot hold: the interaction is 0 only up to rounding
    base = np.array([0.1, 0.2, 0.4, 0.49])
    gain = np.array([0.2, 0.1, 0.11, 0.07])
    values = {(0, 0): base, (1, 0): base + gain, (0, 1): base + 0.3, (1, 1): base + gain + 0.3}
    assert np.any(values[1, 1] - values[0, 1] != values[1, 0] - values[0, 0])
    a, b, ab = factorial_effects(values, ["A", "B"])
    assert a.estimate.mean == pytest.approx(0.12)
    # every seed gains the same by B: no spread, no test
    assert numbers(b.estimate) == pytest.approx([0.3, 0, 0.3, 0.3, 4])
    assert math.isnan(b.p)
    assert math.isnan(b.p_holm)
    assert numbers(ab.estimate).tolist() == [0, 0, 0, 0, 4]
    assert (ab.p, ab.p_holm) == (1, 1)
    assert a.p_holm == pytest.approx(2 * a.p)


def test_effects_do_not_depend_on_what_all_cells_share_nor_on_the_order_of_cells_and_seeds():
    cells = list(itertools.product((0, 1), repeat=2))
    values = dict(zip(cells, normal(16, 4, 8), strict=True))
    order = np.random.default_rng(0).permutation(8)
    shared = normal(17, 8)
    other = {cell: (values[cell] + shared)[order] for cell in reversed(cells)}
    for one, two in zip(factorial_effects(values, "AB"), factorial_effects(other, "AB"), strict=True):
        assert one.factors == two.factors
        assert numbers(one.estimate) == pytest.approx(numbers(two.estimate))
        assert two.p_holm == pytest.approx(one.p_holm)


def test_effects_of_few_seeds_have_no_interval():
    for n, mean in ((0, NAN), (1, 1.0)):
        (effect,) = factorial_effects({(0,): [0.0] * n, (1,): [1.0] * n}, ["bn"])
        assert numbers(effect.estimate) == pytest.approx([mean, NAN, NAN, NAN, n], nan_ok=True)
        assert math.isnan(effect.p)
        assert math.isnan(effect.p_holm)


@pytest.mark.parametrize(
    ("cells", "factors", "fault"),
    [
        ([(0, 0), (0, 1), (1, 0)], "AB", r"lacks cells \[\(1, 1\)\], does not have \[\]"),
        ([(0,), (1,), (2,)], "A", r"lacks cells \[\], does not have \[\(2,\)\]"),
        ([(0,), (1,)], "", r"factors: expected one or more different names, got \[\]"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "AA", r"factors: expected one or more different names, got \['A', 'A'\]"),
    ],
)
def test_studies_that_are_not_full_factorial_are_refused(cells, factors, fault):
    with pytest.raises(ValueError, match=fault):
        factorial_effects({cell: [1.0, 2.0] for cell in cells}, list(factors))


def test_cells_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="all cells must have the same seeds, got from 1 to 2"):
        factorial_effects({(0,): [1.0, 2.0], (1,): [1.0]}, ["bn"])
    with pytest.raises(ValueError, match=r"cell \(1,\): must be finite, got nan at position 1"):
        factorial_effects({(0,): [1.0, 2.0], (1,): [1.0, NAN]}, ["bn"])
