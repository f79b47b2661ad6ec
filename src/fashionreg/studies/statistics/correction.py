"""Several comparisons at once."""

import numpy as np
from numpy.typing import ArrayLike

from fashionreg.studies.statistics.estimates import Floats, vector


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for their number by Holm's step-down method (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, then raised to the largest adjusted value before it, at most 1.
    Rejecting where the result is below 0.05 keeps the chance of any false rejection below 5%, however the tests depend
    on one another. NaN stays NaN and does not count in m.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]

    Args:
        p_values: `(m,)`, each from 0 to 1 or NaN.

    Returns:
        `(m,)`, in the same order.

    Raises:
        ValueError: If the p values are not one-dimensional or leave 0 to 1.
    """
    p = vector(p_values, "p_values")
    wrong = p[(p < 0) | (p > 1)]
    if len(wrong):
        raise ValueError(f"p_values: must be from 0 to 1 or NaN, got {wrong[0]}")
    # NaN sorts last
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted
