"""Intervals, paired tests, time to a target and factorial effects: pure functions of numbers over seeds.

A number that cannot be computed honestly is NaN: too few seeds, or a test that needs a spread where there is none. An
input that is not a result (NaN or infinite where a number belongs, lengths that differ) is a `ValueError`.
"""

from fashionreg.studies.statistics.comparisons import ALPHA, Comparison, compare
from fashionreg.studies.statistics.convergence import Reaching, epochs_to_target, reaching, time_to_target
from fashionreg.studies.statistics.correction import holm
from fashionreg.studies.statistics.estimates import LEVEL, Estimate, bootstrap_interval, estimate
from fashionreg.studies.statistics.factorial import Effect, factorial_effects

__all__ = [
    "ALPHA",
    "LEVEL",
    "Comparison",
    "Effect",
    "Estimate",
    "Reaching",
    "bootstrap_interval",
    "compare",
    "epochs_to_target",
    "estimate",
    "factorial_effects",
    "holm",
    "reaching",
    "time_to_target",
]
