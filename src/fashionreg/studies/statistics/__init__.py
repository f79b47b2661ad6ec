"""Intervals, paired tests, time to a target and factorial effects: pure functions of numbers over seeds.

A number that cannot be computed honestly is NaN: too few seeds, or a test that needs a spread where there is none. An
input that is not a result (NaN or infinite where a number belongs, lengths that differ) is a `ValueError`.
"""

from fashionreg.studies.statistics.comparisons import Comparison, compare, corrected
from fashionreg.studies.statistics.convergence import Reaching, epochs_to_target, reaching, time_to_target
from fashionreg.studies.statistics.correction import holm, simultaneous_intervals
from fashionreg.studies.statistics.estimates import ALPHA, LEVEL, Estimate, Interval, estimate, t_interval
from fashionreg.studies.statistics.factorial import Effect, factorial_effects
from fashionreg.studies.statistics.shares import estimate_share, proportion_interval

__all__ = [
    "ALPHA",
    "LEVEL",
    "Comparison",
    "Effect",
    "Estimate",
    "Interval",
    "Reaching",
    "compare",
    "corrected",
    "epochs_to_target",
    "estimate",
    "estimate_share",
    "factorial_effects",
    "holm",
    "proportion_interval",
    "reaching",
    "simultaneous_intervals",
    "t_interval",
    "time_to_target",
]
