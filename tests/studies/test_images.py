"""Intervals over seeds and over images."""

import math
import time

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols

from fashionreg.studies.statistics import corrected_t, estimate, seeds_and_images

NAN = math.nan


def study(generator, n, m, effect=0.1, seed_std=0.01, image_std=0.5):
    """Two bool arrays `(n, m)`: a latent difficulty for each image, another for each variant, and noise."""
    hard = generator.normal(0.9, 1, m)
    shared = generator.normal(effect, image_std, m)
    gain = generator.normal(0, seed_std, (2, n, 1))
    noise = generator.normal(0, 0.5, (2, n, m))
    return hard + shared + gain[0] + noise[0] > 0, hard + gain[1] + noise[1] > 0


def test_variance_is_that_of_statsmodels_two_way_analysis():
    variant, reference = study(np.random.default_rng(0), 5, 60)
    difference = variant.astype(float) - reference
    cells = pd.DataFrame(
        [(s, i, difference[s, i]) for s in range(5) for i in range(60)], columns=["seed", "image", "value"]
    )
    table = sm.stats.anova_lm(ols("value ~ C(seed) + C(image)", cells).fit())
    ms = table["sum_sq"] / table["df"]
    result = seeds_and_images(variant, reference)
    assert result.seeds == estimate(difference.mean(axis=1))
    assert result.seed_std**2 == pytest.approx(max((ms["C(seed)"] - ms["Residual"]) / 60, 0))
    assert result.image_std**2 == pytest.approx((ms["C(image)"] - ms["Residual"]) / 5)


def test_numbers_have_the_interval_of_statsmodels_two_way_analysis():
    generator = np.random.default_rng(9)
    difference = 0.3 + generator.normal(0, 0.2, (4, 1)) + generator.normal(0, 2, 25) + generator.normal(0, 1, (4, 25))
    reference = generator.normal(size=(4, 25))
    cells = [(s, i, difference[s, i]) for s in range(4) for i in range(25)]
    table = sm.stats.anova_lm(
        ols("value ~ C(seed) + C(image)", pd.DataFrame(cells, columns=["seed", "image", "value"])).fit()
    )
    seeds, images, rest = table["mean_sq"]
    # Satterthwaite: the square of the sum over the sum of the squares, each divided by its degrees of freedom
    freedom = (seeds + images - rest) ** 2 / (seeds**2 / 3 + images**2 / 24 + rest**2 / 72)
    half = stats.t.ppf(0.975, freedom) * ((seeds + images - rest) / 100) ** 0.5
    result = seeds_and_images(reference + difference, reference)
    assert result.interval == pytest.approx((difference.mean() - half, difference.mean() + half), rel=1e-9)
    assert (result.seeds.low, result.seeds.high) == pytest.approx(
        stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference.mean(axis=1))), rel=1e-9
    )


def pigeonhole(difference, resamples, generator):
    """Owen's bootstrap: seeds and images drawn independently, as multinomial weights; standard error of the mean."""
    n, m = difference.shape
    seeds = generator.multinomial(n, np.full(n, 1 / n), resamples)
    images = generator.multinomial(m, np.full(m, 1 / m), resamples)
    return np.einsum("rs,sm,rm->r", seeds, difference, images, optimize=True).std() / (n * m)


def test_interval_is_a_little_shorter_than_that_of_the_pigeonhole_bootstrap():
    variant, reference = study(np.random.default_rng(1), 40, 400, seed_std=0.1)
    result = seeds_and_images(variant, reference)
    owen = pigeonhole(variant.astype(float) - reference, 2000, np.random.default_rng(2))
    # of 40 seeds and 400 images the bootstrap counts the noise of single cells three times: some percent here
    half = (result.interval.high - result.interval.low) / 2
    assert 0.9 < half / (1.99 * owen) < 1.08


@pytest.mark.parametrize("n", [3, 10])
def test_intervals_over_seeds_and_images_cover_new_images_and_those_over_seeds_do_not(n):
    generator, studies, m = np.random.default_rng(3), 400, 300
    # the true difference of both together: a normal difficulty with more variance, shifted
    spread = 1 + 0.25 + 1e-4
    phi = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    true = phi(1.0 / math.sqrt(spread + 0.25)) - phi(0.9 / math.sqrt(spread))
    both = seeds = 0
    for _ in range(studies):
        result = seeds_and_images(*study(generator, n, m))
        both += result.interval.low <= true <= result.interval.high
        seeds += result.seeds.low <= true <= result.seeds.high
    assert both / studies > 0.95 - 4 * math.sqrt(0.95 * 0.05 / studies)
    if n == 10:
        assert both / studies < 0.97 + 4 * math.sqrt(0.97 * 0.03 / studies)
        assert seeds / studies < 0.9


def test_interval_is_never_shorter_than_that_over_seeds():
    generator = np.random.default_rng(4)
    for _ in range(200):
        # no image has an effect of its own: the estimate of its variance is negative every other time
        variant, reference = generator.random((2, 4, 30)) < 0.8
        result = seeds_and_images(variant, reference)
        assert result.interval.low <= result.seeds.low
        assert result.interval.high >= result.seeds.high


def test_ten_seeds_and_ten_thousand_images_take_less_than_a_second():
    variant, reference = study(np.random.default_rng(5), 10, 10_000)
    start = time.perf_counter()
    seeds_and_images(variant, reference)
    assert time.perf_counter() - start < 1


def test_seeds_and_images_by_hand():
    # differences 1, 0 and 1, 0: all variation is between the two images, MS_images = 1, with one degree of freedom
    result = seeds_and_images(np.array([[True, False], [True, True]]), np.array([[False, False], [False, True]]))
    assert (result.seeds.mean, result.seed_std, result.image_std) == pytest.approx((0.5, 0, math.sqrt(0.5)))
    assert result.interval == pytest.approx((0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2), rel=1e-5)


def test_few_seeds_or_images_and_arrays_that_do_not_fit():
    yes = np.ones((1, 5), dtype=bool)
    assert seeds_and_images(yes, yes).interval == pytest.approx((NAN, NAN), nan_ok=True)
    assert seeds_and_images(np.ones((3, 5), dtype=bool), np.ones((3, 5), dtype=bool)).interval == (0, 0)
    holes = np.full((1, 5), NAN)
    for variant, fault in ((holes, "expected finite"), (yes[0], "expected finite"), (yes[:, :4], "has shape")):
        with pytest.raises(ValueError, match=f"variant: {fault}"):
            seeds_and_images(variant, yes)
    with pytest.raises(ValueError, match="variant: has no images"):
        seeds_and_images(yes[:, :0], yes[:, :0])


# --- overlapping splits -----------------------------------------------------------------------------------------------


def test_corrected_t_by_hand():
    # mean 3, variance 8 / 3, n = 4 splits of 80 and 20 images: standard error sqrt(8 / 3 * (1 / 4 + 1 / 4))
    result = corrected_t([1, 3, 3, 5], 80, 20)
    error = math.sqrt(8 / 3 / 2)
    assert result.difference.low == pytest.approx(3 - 3.182446 * error, rel=1e-6)
    # t = 2.598 with 3 degrees of freedom: the distribution function in closed form
    t = 3 / error
    angle = math.atan(t / math.sqrt(3))
    assert result.p == pytest.approx(1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle)))


def test_corrected_t_without_overlap_is_the_t_interval_and_few_splits_have_none():
    values = np.random.default_rng(6).normal(size=9)
    result, plain = corrected_t(values, 10**12, 1).difference, estimate(values)
    assert (result.low, result.high) == pytest.approx((plain.low, plain.high))
    assert math.isnan(corrected_t([], 4, 1).p)
    assert math.isnan(corrected_t([1], 4, 1).difference.low)
    assert math.isnan(corrected_t([0.1] * 5, 4, 1).p)
    assert corrected_t([0.0] * 5, 4, 1).p == 1
    with pytest.raises(ValueError, match="train_size, test_size: must be 1 or more, got 4, 0"):
        corrected_t([1, 2], 4, 0)


def test_corrected_t_errs_less_than_the_plain_test_where_training_sets_overlap():
    # splits share their data: the difference of a split is a common part of the whole data, with the correlation
    # test / (train + test) between splits that Nadeau and Bengio assume
    generator, studies, n, rho = np.random.default_rng(7), 3000, 10, 0.2
    common = generator.normal(size=(studies, 1)) * math.sqrt(rho)
    values = common + generator.normal(size=(studies, n)) * math.sqrt(1 - rho)
    corrected = np.mean([corrected_t(row, 80, 20).p < 0.05 for row in values])
    plain = np.mean(np.abs(values.mean(axis=1)) / values.std(axis=1, ddof=1) * math.sqrt(n) > 2.262)
    assert plain > 0.2
    assert corrected == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / studies))
