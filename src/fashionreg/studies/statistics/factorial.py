"""Main effects and interactions of a full factorial study with two levels of each factor."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike

from fashionreg.studies.statistics.comparisons import ROUNDING, settled, t_test
from fashionreg.studies.statistics.correction import holm, simultaneous_intervals
from fashionreg.studies.statistics.estimates import ALPHA, Estimate, Interval, estimate, finite


@dataclass(frozen=True)
class Effect:
    """An effect of a two-level factorial study.

    Attributes:
        factors: One factor: a main effect. Two or more: their interaction.
        estimate: The effect over seeds, in the unit of the metric, with a t interval.
        simultaneous: The interval of `simultaneous_intervals` over all effects, which agrees with `p_holm`.
        p: t test of the effects of the seeds against 0, two-sided; NaN and 1 as for `Comparison.t_p`.
        p_holm: `p` after Holm's correction over all effects of the study.
    """

    factors: tuple[str, ...]
    estimate: Estimate
    simultaneous: Interval
    p: float
    p_holm: float


def factorial_effects(
    values: Mapping[tuple[int, ...], ArrayLike], factors: Sequence[str], alpha: float = ALPHA
) -> list[Effect]:
    """Estimate the effects of a full factorial study of k factors, each off (0) or on (1), paired by seed.

    For each seed, the effect of a set of factors is the mean over the cells where the product of their signs (-1 off,
    +1 on) is +1, minus the mean over the cells where it is -1 (Montgomery, Design and Analysis of Experiments, chapter
    6). So a main effect is the mean with the factor on minus the mean with it off, over all settings of the others; the
    interaction of A and B is half the difference between the effect of A with B on and with B off.

    Contrasts within 1e-12 of the largest result count as 0, as in `compare`.

    Args:
        values: For each of the `2**k` cells, named by the levels of the factors in order, `(n,)` finite results;
            element i of every array belongs to the same seed.
        factors: The k names, all different.
        alpha: Level of the simultaneous intervals: 0.05, or that of `looks_levels` at this look.

    Returns:
        The `2**k - 1` effects, by number of factors, then in the order of the factors.

    Raises:
        ValueError: If a cell is missing or unknown, lengths differ, or factors are missing or repeated.
    """
    if not factors or len(set(factors)) < len(factors):
        raise ValueError(f"factors: expected one or more different names, got {list(factors)}")
    cells = list(product((0, 1), repeat=len(factors)))
    missing = [cell for cell in cells if cell not in values]
    unknown = [cell for cell in values if cell not in cells]
    if missing or unknown:
        raise ValueError(f"values: a study of {len(factors)} factors lacks cells {missing}, does not have {unknown}")
    rows = [finite(values[cell], f"cell {cell}") for cell in cells]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"values: all cells must have the same seeds, got from {min(lengths)} to {max(lengths)}")
    results = np.stack(rows)
    tolerance = ROUNDING * float(np.max(np.abs(results), initial=0))
    signs = 2 * np.array(cells) - 1
    sets = list(_subsets(len(factors)))
    # half of the cells have sign +1, half -1: dividing by their number gives the difference of two means
    contrasts = [
        settled(signs[:, chosen].prod(axis=1) @ results / (len(cells) // 2), tolerance) for chosen in map(list, sets)
    ]
    p = [t_test(contrast) for contrast in contrasts]
    estimates = [estimate(contrast) for contrast in contrasts]
    intervals = simultaneous_intervals(estimates, p, alpha)
    return [
        Effect(tuple(factors[i] for i in chosen), one, interval, p_value, p_holm)
        for chosen, one, interval, p_value, p_holm in zip(sets, estimates, intervals, p, holm(p).tolist(), strict=True)
    ]


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Yield all non-empty subsets of 0 to `count - 1`, smaller ones first."""
    for size in range(1, count + 1):
        yield from combinations(range(count), size)
