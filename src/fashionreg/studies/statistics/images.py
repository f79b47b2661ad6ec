"""Images as a source of variance: intervals of a difference over seeds, and over images too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fashionreg.studies.statistics.crossed import mean_squares
from fashionreg.studies.statistics.estimates import Estimate, Floats, Interval, estimate, t_around


@dataclass(frozen=True)
class SeedsAndImages:
    """A difference, and over what it varies, in the unit of the values; that of accuracies is -1 to 1.

    Attributes:
        seeds: The difference with Student's t interval over seeds: other seeds, these images.
        interval: 95% interval over seeds and images: other seeds, other images of the same kind. Never shorter. NaN for
            fewer than 2 seeds or images.
        seed_std: Standard deviation of the true differences between seeds (on all images of the kind); 0 where its
            estimate is negative.
        image_std: Standard deviation between images of the difference that all seeds share; 0 likewise.
    """

    seeds: Estimate
    interval: Interval
    seed_std: float
    image_std: float


def seeds_and_images(variant: ArrayLike, reference: ArrayLike) -> SeedsAndImages:
    """Compute intervals of a difference over seeds, and over seeds and images, paired by both.

    d[s, i] = mean + a[s] + b[i] + e[s, i], with seeds, images and their interaction as independent random effects
    (crossed, one value in each cell). The variance of the mean over n seeds and m images, var(a) / n + var(b) / m +
    var(e) / (n m), is estimated without bias by (MS_seeds + MS_images - MS_rest) / (n m) from the mean squares of the
    two-way analysis of variance (Searle, Casella and McCulloch 1992, chapter 4). It is used with the t distribution
    with Satterthwaite's (1946) degrees of freedom. Where MS_images < MS_rest, images are taken to add nothing: the
    interval then is the one over seeds. Owen's (2007) pigeonhole bootstrap estimates the same variance plus 2 var(e) /
    (n m), for which the formula needs no resampling.

    Args:
        variant: `(n, m)` finite, the score of each seed's network on each image; bool, whether it is right about it.
        reference: `(n, m)`, the same seeds and the same images in the same order.

    Raises:
        ValueError: If the arrays are not two-dimensional, finite and of the same shape.
    """
    one, two = _scores(variant, "variant"), _scores(reference, "reference")
    if one.shape != two.shape:
        raise ValueError(f"variant: has shape {one.shape}, the reference {two.shape}")
    n, m = one.shape
    if m == 0:
        raise ValueError("variant: has no images")
    differences = one - two
    over_seeds = estimate(differences.mean(axis=1))
    if n < 2 or m < 2:
        return SeedsAndImages(over_seeds, Interval(np.nan, np.nan), np.nan, np.nan)
    of = mean_squares(differences)
    seed_std, image_std = max((of.rows - of.rest) / m, 0) ** 0.5, max((of.columns - of.rest) / n, 0) ** 0.5
    interval = Interval(over_seeds.low, over_seeds.high)
    if of.total > of.rows:
        wider = t_around(over_seeds.mean, *of.error())
        # more degrees of freedom can make the quantile smaller by more than the variance has grown
        interval = Interval(min(interval.low, wider.low), max(interval.high, wider.high))
    return SeedsAndImages(over_seeds, interval, seed_std, image_std)


def _scores(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers (seeds, images), got shape {array.shape}")
    return array
