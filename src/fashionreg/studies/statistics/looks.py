"""Several looks at a growing study: the error of 5% spent over the looks, and how many seeds the next one has."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import special, stats

from fashionreg.studies.statistics.estimates import ALPHA

#: Number of studies that are simulated for the levels: their error is then known to 0.05%, and taken off twice.
STUDIES = 200_000


def looks_levels(
    looks: Sequence[int], maximum: int | None = None, *, comparisons: int = 1, alpha: float = ALPHA
) -> list[float]:
    """Compute the significance level of each look at a growing study, so that all looks together err in 5%.

    By time t = seeds / maximum, 4 - 4 Phi(z(1 - alpha / 4) / sqrt(t)) of the error may be spent, an O'Brien-Fleming
    type of spending function, half of it in each tail (Lan and DeMets 1983): next to nothing early, nearly all at the
    end. The level of each look spends what has become free since the look before, given that none before rejected:
    the joint distribution of the t tests is simulated (200,000 studies without effect, fixed seed), since the usual
    levels are those of z tests, with which t tests at ten seeds or fewer err in up to 5.7%. Two standard errors of
    the simulation are left unspent, so that the whole error is 4.9 to 5%. A single look at the maximum has exactly 5%.

    The looks need not be planned, but the maximum must be: it may not depend on results. Spending was preferred to
    a confidence sequence valid at any time (Wang and Ramdas 2023), whose intervals are about half as long again: that
    costs twice the seeds. A study that went on after its maximum has no error left to spend, and no correction
    afterwards makes up for it.

    With several comparisons the levels are for p values after Holm's correction. Holm's method tests at alpha / m to
    alpha, and each level is the strictest for any of these, q times the level of an error of alpha / q for q = 1 and
    q = m (Maurer and Bretz 2013).

    Args:
        looks: Number of seeds at each look, ascending, the present one last; 2 or more each.
        maximum: The largest number of seeds, stated before the first look; by default that of the last look. Then it
            is assumed that no earlier look would have ended the study.
        comparisons: Number of variants compared with the reference.
        alpha: Above 0, below 1.

    Returns:
        One level for each look, from 0 to `alpha`. A (corrected) p value below it rejects at that look, and for one
        comparison `t_interval` at 1 - level then excludes 0.

    Raises:
        ValueError: If looks are not ascending, or one is beyond the maximum.
    """
    maximum = looks[-1] if maximum is None and looks else maximum
    if not looks or looks[0] < 2 or any(later <= look for look, later in pairwise(looks)):
        raise ValueError(f"looks: must be ascending numbers of seeds, 2 or more, got {list(looks)}")
    if maximum is None or looks[-1] > maximum:
        raise ValueError(f"looks: must not be beyond the maximum of {maximum} seeds, got {looks[-1]}")
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons, alpha: must be 1 or more and from 0 to 1, got {comparisons}, {alpha}")
    levels = [[q * level for level in _levels(tuple(looks), maximum, alpha / q)] for q in {1, comparisons}]
    return [min(column) for column in zip(*levels, strict=True)]


def next_seeds(seeds: int, maximum: int) -> int:
    """Return the number of seeds at the next look: half as many again, at most the maximum.

    Looks in a geometric series cost at most half of the seeds that were needed, and few levels are spent on them.

    >>> next_seeds(5, 50), next_seeds(40, 50), next_seeds(50, 50)
    (8, 50, 50)
    """
    return min(maximum, seeds + (seeds + 1) // 2)


def spent(time: float, alpha: float = ALPHA) -> float:
    """Return the two-sided error that may be spent by a time from 0 to 1 (above 0)."""
    return float(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / time**0.5)) if time < 1 else alpha


@lru_cache(maxsize=64)
def _levels(looks: tuple[int, ...], maximum: int, alpha: float) -> tuple[float, ...]:
    """Return the levels of two-sided t tests at these looks, for one comparison."""
    generator = np.random.default_rng(0)
    total, squares = np.zeros(STUDIES), np.zeros(STUDIES)
    rejected = np.zeros(STUDIES, dtype=bool)
    levels: list[float] = []
    seeds, before = 0, 0.0
    for look in looks:
        # the seeds since the last look by their sum and their squared deviations, which are all that a t test needs
        new = look - seeds
        added = generator.normal(0, new**0.5, STUDIES)
        total += added
        squares += added**2 / new + (generator.chisquare(new - 1, STUDIES) if new > 1 else 0)
        error = np.sqrt((squares - total**2 / look) / (look - 1) * look)
        size = np.abs(total) / error
        now = spent(look / maximum, alpha)
        margin = 2 * (now / STUDIES) ** 0.5
        free = int((now - margin) * STUDIES) - np.count_nonzero(rejected)
        # alone, a look at this level errs in exactly what is free: right whatever the other looks do
        level = now - before
        limit = float(-special.stdtrit(look - 1, level / 2))
        if levels and free > 0:
            # as many of the largest statistics reject as there is error to spend
            kept = size[~rejected]
            limit = min(limit, float(np.partition(kept, len(kept) - 1 - free)[len(kept) - 1 - free]))
            level = max(level, float(2 * special.stdtr(look - 1, -limit)))
        levels.append(level)
        rejected |= size > limit
        seeds, before = look, now
    return tuple(levels)
