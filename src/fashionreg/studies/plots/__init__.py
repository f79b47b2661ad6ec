"""The figures of a report: pure functions from findings to a matplotlib `Figure`, without pyplot.

A variant has the same colour, line and marker in every figure of a study, by its position in the plan.
"""

from fashionreg.studies.plots.lines import curves, drift, overfitting
from fashionreg.studies.plots.rows import atlas, differences, effects, final_values, overview, targets
from fashionreg.studies.plots.style import looks, render

__all__ = [
    "atlas",
    "curves",
    "differences",
    "drift",
    "effects",
    "final_values",
    "looks",
    "overfitting",
    "overview",
    "render",
    "targets",
]
