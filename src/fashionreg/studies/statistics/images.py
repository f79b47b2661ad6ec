"""Test images as a source of variance: intervals of a difference in accuracy over seeds, and over images too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fashionreg.studies.statistics.crossed import MeanSquares
from fashionreg.studies.statistics.estimates import Estimate, Interval, estimate, t_around


@dataclass(frozen=True)
class SeedsAndImages:
    """A difference in accuracy, and over what it varies; accuracies from 0 to 1.

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
    """Compute intervals of a difference in accuracy over seeds, and over seeds and test images, paired by both.

    d[s, i] = mean + a[s] + b[i] + e[s, i], with seeds, images and their interaction as independent random effects
    (crossed, one value in each cell). The variance of the mean over n seeds and m images, var(a) / n + var(b) / m +
    var(e) / (n m), is estimated without bias by (MS_seeds + MS_images - MS_rest) / (n m) from the mean squares of the
    two-way analysis of variance (Searle, Casella and McCulloch 1992, chapter 4). It is used with the t distribution
    with Satterthwaite's (1946) degrees of freedom. Where MS_images < MS_rest, images are taken to add nothing: the
    interval then is the one over seeds. Owen's (2007) pigeonhole bootstrap estimates the same variance plus 2 var(e) /
    (n m), for which the formula needs no resampling.

    Args:
        variant: `(n, m)` bool, whether each seed's network is right about each image.
        reference: `(n, m)` bool, the same seeds and the same images in the same order.

    Raises:
        ValueError: If the arrays are not two-dimensional, bool and of the same shape.
    """
    one, two = _right(variant, "variant"), _right(reference, "reference")
    if one.shape != two.shape:
        raise ValueError(f"variant: has shape {one.shape}, the reference {two.shape}")
    n, m = one.shape
    if m == 0:
        raise ValueError("variant: has no images")
    # int8: -1, 0, 1
    differences = one.view(np.int8) - two.view(np.int8)
    of_seeds = differences.mean(axis=1)  # (n,)
    over_seeds = estimate(of_seeds)
    if n < 2 or m < 2:
        return SeedsAndImages(over_seeds, Interval(np.nan, np.nan), np.nan, np.nan)
    of_images = differences.mean(axis=0)  # (m,)
    mean = over_seeds.mean
    squares_seeds = m * float(((of_seeds - mean) ** 2).sum())
    squares_images = n * float(((of_images - mean) ** 2).sum())
    # of -1, 0, 1 the sum of squares is the number of cells that differ
    squares = float(np.count_nonzero(differences)) - n * m * mean**2
    squares_rest = max(squares - squares_seeds - squares_images, 0.0)
    of = MeanSquares(squares_seeds / (n - 1), squares_images / (m - 1), squares_rest / ((n - 1) * (m - 1)), n, m)
    ms_seeds, ms_images, ms_rest = of.rows, of.columns, of.rest
    seed_std, image_std = max((ms_seeds - ms_rest) / m, 0) ** 0.5, max((ms_images - ms_rest) / n, 0) ** 0.5
    interval = Interval(over_seeds.low, over_seeds.high)
    if of.total > ms_seeds:
        wider = t_around(mean, *of.error())
        # more degrees of freedom can make the quantile smaller by more than the variance has grown
        interval = Interval(min(interval.low, wider.low), max(interval.high, wider.high))
    return SeedsAndImages(over_seeds, interval, seed_std, image_std)


def _right(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype != np.bool_:
        raise ValueError(f"{name}: expected bool (seeds, images), got {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array)
