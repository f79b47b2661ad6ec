"""Differences over splits whose training images overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fashionreg.studies.statistics.estimates import DependentEstimate, finite, mean_of, std_of, t_around


@dataclass(frozen=True)
class Resampled:
    """A difference over overlapping splits.

    Attributes:
        difference: With an interval of the corrected standard error.
        p: Two-sided p value of the corrected t test. NaN for n < 3, and where all differences are equal but not 0; 1
            where all are 0.
    """

    difference: DependentEstimate
    p: float


def corrected_t(differences: ArrayLike, train_size: int, test_size: int) -> Resampled:
    """Test a mean difference over n random splits of the same images (Nadeau and Bengio 2003).

    The training sets of two splits overlap, so that their results depend on each other and std / sqrt(n) is too small:
    the standard error is std * sqrt(1 / n + test_size / train_size), with n - 1 degrees of freedom. For k-fold cross
    validation test_size / train_size is 1 / (k - 1). The correction is an approximation that errs to the side of
    caution more often than not.

    Args:
        differences: `(n,)`, finite, variant minus reference of each split.
        train_size: Number of training images of each split, 1 or more.
        test_size: Number of test images of each split, 1 or more.

    Raises:
        ValueError: If the differences are not one-dimensional and finite, or a size is below 1.
    """
    values = finite(differences, "differences")
    if train_size < 1 or test_size < 1:
        raise ValueError(f"train_size, test_size: must be 1 or more, got {train_size}, {test_size}")
    mean, std, n = mean_of(values), std_of(values), len(values)
    if n < 2:
        return Resampled(DependentEstimate(mean, std, np.nan, np.nan, n, np.nan, n - 1), np.nan)
    error = std * (1 / n + test_size / train_size) ** 0.5
    if n < 3:
        p = np.nan
    elif std == 0:
        p = np.nan if mean else 1.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Resampled(DependentEstimate(mean, std, *t_around(mean, error, n - 1), n, error, n - 1), p)
