"""Results of several splits of the same images: seeds crossed with splits, and folds of results made elsewhere.

A fold is the number of a split, from 0. In tables of means a seed stands for the mean over its folds; differences are
tested on the single results, with an error that knows how they depend on one another.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from fashionreg.studies.statistics import Estimate, corrected_t, crossed
from fashionreg.studies.statistics.estimates import Floats

#: What a difference rests on: from differences of single results, sorted by seed and fold, to their mean.
Summary = Callable[[Floats], Estimate]


def over_seeds_and_splits(splits: int) -> Summary:
    """Return the summary of a study that trains each seed on each of this many splits."""
    return lambda differences: crossed(differences.reshape(-1, splits))


def over_folds(folds: int) -> Summary:
    """Return the summary of folds of a cross-validation, whose training images overlap (Nadeau and Bengio 2003)."""
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
