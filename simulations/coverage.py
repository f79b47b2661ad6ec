"""How often intervals contain what they are about."""

from collections.abc import Callable

import numpy as np

from fashionreg.studies.statistics import (
    Estimate,
    compare,
    corrected,
    crossed,
    equivalence,
    estimate,
    estimate_share,
    interquartile_mean,
    median,
    seeds_and_images,
)
from simulations.noise import Floats, draw

#: An accuracy and its standard deviation between seeds.
ACCURACY, SPREAD = 0.87, 0.01


def share_that_covers(summary: Callable[[Floats], Estimate], truth: float, values: Floats) -> float:
    """Return the share of studies, one in each row, whose interval contains the truth; NaN without intervals."""
    intervals = np.array([(one.low, one.high) for one in map(summary, values)])
    if np.isnan(intervals).any():
        return np.nan
    return float(np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])))


def of_one_interval(source: Floats | None, n: int, studies: int, seed: int) -> dict[str, float]:
    """Return the coverage of each interval of a mean or a difference over n seeds."""
    generator = np.random.default_rng([seed, n])
    one, two = (draw(source, generator, studies, n) for _ in range(2))
    differences = one - two
    # the median and the interquartile mean of a difference of two like distributions are 0, whatever their skewness
    return {
        "mean of a variant (t)": share_that_covers(estimate, 0, one),
        "mean accuracy within 0 to 100% (logit t)": share_that_covers(
            estimate_share, ACCURACY, np.clip(ACCURACY + SPREAD * one, 0, 1)
        ),
        "difference (t)": share_that_covers(estimate, 0, differences),
        "difference, 90% (TOST)": float(
            np.mean([low <= 0 <= high for low, high in (equivalence(row, 1).interval for row in differences)])
        ),
        "difference, interquartile mean (trimmed t)": share_that_covers(interquartile_mean, 0, differences),
        "difference, median (order statistics)": share_that_covers(median, 0, differences),
    }


def simultaneous(source: Floats | None, effects: list[float], n: int, studies: int, seed: int) -> float:
    """Return how often all simultaneous intervals cover, with these effects of variants in standard deviations."""
    generator = np.random.default_rng([seed, n])
    covered = 0
    for _ in range(studies):
        reference, *variants = draw(source, generator, len(effects) + 1, n)
        shifted = {str(i): noise + effects[i] for i, noise in enumerate(variants)}
        intervals = [one.simultaneous for one in corrected(compare(shifted, reference)).values()]
        covered += all(low <= effect <= high for (low, high), effect in zip(intervals, effects, strict=True))
    return covered / studies


def over_images(n: int, images: int, studies: int, seed: int) -> tuple[float, float]:
    """Return the coverage for new images of the interval over seeds and images, and of that over seeds alone.

    An image's probability to be right is drawn for each network's family, so that the true difference is 0 on all
    images and not on those of one study.
    """
    generator = np.random.default_rng([seed, n])
    both = alone = 0
    for _ in range(studies):
        chance = generator.beta(4, 0.6, (2, 1, images))
        right = generator.random((2, n, images)) < chance
        result = seeds_and_images(right[0], right[1])
        both += result.interval.low <= 0 <= result.interval.high
        alone += result.seeds.low <= 0 <= result.seeds.high
    return both / studies, alone / studies


def over_splits(spread: tuple[float, float, float], n: int, splits: int, studies: int, seed: int) -> float:
    """Return the coverage of the interval over n seeds, each trained on each of several splits.

    Args:
        spread: Standard deviations of seeds, of splits and of what only a seed on a split has.
        n: Number of seeds.
        splits: Number of splits.
        studies: Number of simulated studies.
        seed: Of the noise.
    """
    generator = np.random.default_rng([seed, n, splits])
    of_seeds, of_splits, of_both = (
        std * generator.normal(size=(studies, *shape))
        for std, shape in zip(spread, ((n, 1), (1, splits), (n, splits)), strict=True)
    )
    intervals = (crossed(values) for values in of_seeds + of_splits + of_both)
    return float(np.mean([one.low <= 0 <= one.high for one in intervals]))
