"""What belongs beside a difference: whether it matters, whether a few seeds make it, and what pairing bought."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fashionreg.studies.statistics import (
    ALPHA,
    Comparison,
    Decision,
    Equivalence,
    Pairing,
    Robust,
    SeedsToDecide,
    decide,
    differences_of,
    equivalence,
    holm,
    pairing,
    robust,
    seeds_to_decide,
)
from fashionreg.studies.statistics.estimates import Floats


@dataclass(frozen=True)
class Evidence:
    """What belongs beside the difference of a variant from the reference.

    Attributes:
        decision: Better, worse, equivalent or undecided.
        equivalence: Whether the difference is too small to matter; None where it is not declared what matters.
        equivalence_p: Its p value after Holm's correction over the variants; NaN without it.
        seeds: How many seeds would decide, if the true difference and spread equal the observed ones; None where it is
            decided, not declared what matters, no spread was seen, or there are several results of a seed.
        robust: The difference by its mean and by two summaries that a few seeds do not move; None where there are
            several results of a seed, of which these two know no interval.
        pairing: What pairing by seed bought; None likewise.
    """

    decision: Decision
    equivalence: Equivalence | None
    equivalence_p: float
    seeds: SeedsToDecide | None
    robust: Robust | None
    pairing: Pairing | None


def paired(variant: "pd.Series[float]", reference: "pd.Series[float]") -> tuple[Floats, Floats]:
    """Return the results of a variant and of the reference for the seeds that both have, in the same order."""
    shared = sorted(set(variant.index) & set(reference.index))
    return np.asarray(variant.loc[shared], np.float64), np.asarray(reference.loc[shared], np.float64)


def gather(
    values: "Mapping[str, pd.Series[float]]",
    reference: str,
    compared: Mapping[str, Comparison],
    *,
    higher_is_better: bool,
    relevant: float | None = None,
    alpha: float = ALPHA,
) -> dict[str, Evidence]:
    """Gather the evidence on each variant by one outcome.

    Args:
        values: The outcome of each variant, indexed by seed.
        reference: The variant that the others are compared with.
        compared: The comparisons, corrected over all of them.
        higher_is_better: True for an accuracy, False for a loss.
        relevant: The smallest difference that matters, in the unit of the outcome.
        alpha: Level of tests, after the correction for their number.
    """
    pairs = {name: paired(values[name], values[reference]) for name in compared}
    differences = {name: differences_of(*pair) for name, pair in pairs.items()}
    small = {} if relevant is None else {name: equivalence(one.difference, relevant) for name, one in compared.items()}
    adjusted = dict(zip(small, holm([each.p for each in small.values()]).tolist(), strict=True))
    found = {}
    for name, one in compared.items():
        mean, p = one.difference.mean, adjusted.get(name, np.nan)
        decision = decide(mean, one.t_p_holm, p, higher_is_better=higher_is_better, alpha=alpha)
        seeds = None
        alone = one.difference.independent
        if relevant is not None and decision == "undecided" and one.difference.std > 0 and alone:
            seeds = seeds_to_decide(one.difference.std, one.n, mean, relevant, comparisons=len(compared))
        beside = (robust(differences[name]), pairing(*pairs[name])) if alone else (None, None)
        found[name] = Evidence(decision, small.get(name), p, seeds, *beside)
    return found
