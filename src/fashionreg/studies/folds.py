"""Several results of each seed: of several splits of the same images, or of single images.

Splits are crossed with seeds, or are folds of results that were made elsewhere. A fold is the number of a split, from
0. In tables of means a seed stands for the mean over its folds; differences are tested on the single results, with an
error that knows how they depend on one another.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from fashionreg.studies.statistics import Estimate, corrected_t, crossed
from fashionreg.studies.statistics.estimates import Floats

#: The columns that tell several results of a seed apart: the fold of a cross-validation; the number of the split, where
#: each seed was trained on each of several splits; and the image.
FOLD, SPLIT_NUMBER, IMAGE = "fold", "split_number", "image"

#: What the values of these columns are, in words. A table has one of the columns at most.
PARTS = {FOLD: "folds", SPLIT_NUMBER: "splits", IMAGE: "images"}

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


def mean_over(part: str, rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a table without the column `part`, with the mean of a column over the parts of what else is the same.

    Every part must be there. A mean is not finite where a value is not.
    """
    keys = [name for name in rows.columns if name not in (part, value)]
    wide = rows.set_index([*keys, part])[value].unstack(part)
    return wide.mean(axis=1, skipna=False).rename(value).reset_index()[[n for n in rows.columns if n != part]]
