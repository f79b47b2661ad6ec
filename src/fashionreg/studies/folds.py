"""Results of several splits of the same images: seeds crossed with splits, and folds of results made elsewhere.

A fold is the number of a split, from 0. In tables of means a seed stands for the mean over its folds; differences are
tested on the single results, with an error that knows how they depend on one another.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from fashionreg.studies.statistics import Estimate, corrected_t, crossed
from fashionreg.studies.statistics.estimates import Floats

#: The column of `results.csv` with the number of the split, where each seed was trained on each of several splits; that
#: of a cross-validation is `fold`.
SPLIT_NUMBER = "split_number"

#: What a difference rests on: from differences of single results, sorted by seed and fold, to their mean.
Summary = Callable[[Floats], Estimate]


def summary_of(folds: int, *, crossed_with_seeds: bool) -> Summary:
    """Return how differences of several splits become their mean.

    Args:
        folds: Number of splits.
        crossed_with_seeds: Whether each seed was trained on each split, both drawn at random; otherwise the splits are
            the folds of a cross-validation, whose training images overlap (Nadeau and Bengio 2003).
    """
    if crossed_with_seeds:
        return lambda differences: crossed(differences.reshape(-1, folds))
    return lambda differences: corrected_t(differences, folds - 1, 1).difference


def each_fold(rows: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Return the rows of each fold."""
    return {fold: rows[rows.fold == fold].drop(columns="fold") for fold in sorted(map(int, rows.fold.unique()))}


def by_seed_and_fold(parts: "Mapping[int, pd.Series[float]]") -> "pd.Series[float]":
    """Return what each seed has in each fold, `parts` by fold and then by seed, indexed by seed and fold."""
    return pd.concat(parts, names=["fold", "seed"]).swaplevel().sort_index()


def mean_over_folds(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a table without its column `fold`, with the mean of a column over the folds of what else is the same.

    Every fold must be there. A mean is not finite where a value is not.
    """
    keys = [name for name in rows.columns if name not in ("fold", value)]
    wide = rows.set_index([*keys, "fold"])[value].unstack("fold")
    return wide.mean(axis=1, skipna=False).rename(value).reset_index()[[*(n for n in rows.columns if n != "fold")]]
