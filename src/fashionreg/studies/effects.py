"""Main effects and interactions, where a study is a full factorial."""

import numpy as np
import pandas as pd

from fashionreg.studies.looks import Looked
from fashionreg.studies.results import StudyPlan
from fashionreg.studies.statistics import Effect, factorial_effects


def effects_of(plan: StudyPlan, values: "dict[str, pd.Series[float]]", seen: Looked) -> list[Effect]:
    """Estimate the effects of a full factorial with two levels of at least two factors; otherwise return none."""
    if not all(np.isfinite(each).all() for each in values.values()):
        return []
    factors = list(plan.variants[0].levels)
    levels = {factor: list(dict.fromkeys(str(v.levels.get(factor)) for v in plan.variants)) for factor in factors}
    if len(factors) < 2 or any(len(each) != 2 for each in levels.values()) or len(values) != 2 ** len(factors):
        return []
    shared = sorted(set.intersection(*(set(each.index) for each in values.values())))
    cells = {
        tuple(levels[factor].index(str(variant.levels[factor])) for factor in factors): values[variant.name]
        .loc[shared]
        .to_numpy()
        for variant in plan.variants
    }
    if len(cells) < len(plan.variants):
        return []
    return factorial_effects(cells, factors, seen.level(len(cells) - 1))
