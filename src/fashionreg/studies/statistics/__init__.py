"""Intervals, paired tests, time to a target and factorial effects: pure functions of numbers over seeds.

A number that cannot be computed honestly is NaN: too few seeds, or a test that needs a spread where there is none. An
input that is not a result (NaN or infinite where a number belongs, lengths that differ) is a `ValueError`.
"""

from fashionreg.studies.statistics.comparisons import Comparison, compare, corrected, differences_of
from fashionreg.studies.statistics.convergence import Reaching, epochs_to_target, reaching, time_to_target
from fashionreg.studies.statistics.correction import holm, simultaneous_intervals
from fashionreg.studies.statistics.crossed import crossed
from fashionreg.studies.statistics.equivalence import (
    Decision,
    Equivalence,
    SeedsToDecide,
    decide,
    decision_power,
    equivalence,
    seeds_to_decide,
)
from fashionreg.studies.statistics.estimates import ALPHA, LEVEL, Estimate, Interval, estimate, t_interval
from fashionreg.studies.statistics.factorial import Effect, factorial_effects
from fashionreg.studies.statistics.images import SeedsAndImages, seeds_and_images
from fashionreg.studies.statistics.looks import looks_levels, next_seeds
from fashionreg.studies.statistics.pairing import Pairing, pairing
from fashionreg.studies.statistics.resampled import Resampled, corrected_t
from fashionreg.studies.statistics.robust import Outliers, Robust, interquartile_mean, median, outliers, robust
from fashionreg.studies.statistics.shares import estimate_share, proportion_interval
from fashionreg.studies.statistics.survival import log_rank, restricted_mean, smoothed

__all__ = [
    "ALPHA",
    "LEVEL",
    "Comparison",
    "Decision",
    "Effect",
    "Equivalence",
    "Estimate",
    "Interval",
    "Outliers",
    "Pairing",
    "Reaching",
    "Resampled",
    "Robust",
    "SeedsAndImages",
    "SeedsToDecide",
    "compare",
    "corrected",
    "corrected_t",
    "crossed",
    "decide",
    "decision_power",
    "differences_of",
    "epochs_to_target",
    "equivalence",
    "estimate",
    "estimate_share",
    "factorial_effects",
    "holm",
    "interquartile_mean",
    "log_rank",
    "looks_levels",
    "median",
    "next_seeds",
    "outliers",
    "pairing",
    "proportion_interval",
    "reaching",
    "restricted_mean",
    "robust",
    "seeds_and_images",
    "seeds_to_decide",
    "simultaneous_intervals",
    "smoothed",
    "t_interval",
    "time_to_target",
]
