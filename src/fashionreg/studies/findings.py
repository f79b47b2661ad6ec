"""Estimates and comparisons, computed from the records of a study."""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from fashionreg.studies.results import StudyPlan, StudyResults
from fashionreg.studies.statistics import (
    Comparison,
    Effect,
    Estimate,
    Reaching,
    compare,
    epochs_to_target,
    estimate,
    factorial_effects,
    holm,
    reaching,
    time_to_target,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class VariantFindings:
    """The results of one variant.

    Attributes:
        name: Its name.
        seeds: Its seeds, n of them.
        final: After the last epoch, by `split/metric` and `gap`: estimates over seeds; the generalization gap is train
            accuracy minus test accuracy.
        values: The primary metric after the last epoch, of each seed `(n,)`.
        best_epoch: The epoch (from 1) with the highest validation accuracy of each seed, over seeds; None without
            validation images: then the final epoch counts, since nothing is selected by test results.
        best: The primary metric at that epoch, over seeds; None without validation images.
        seconds: Wall time in seconds of an epoch and seed, a mean over epochs and seeds.
    """

    name: str
    seeds: list[int]
    final: dict[str, Estimate]
    values: NDArray[np.float64]
    best_epoch: Estimate | None
    best: Estimate | None
    seconds: float


@dataclass(frozen=True)
class Findings:
    """What a study has found.

    Attributes:
        results: The numbers that everything here follows from.
        epochs: Number of epochs of the longest run.
        variants: The variants that have results, in the plan's order.
        comparisons: The primary metric of each other variant against the reference, paired by the seeds of both.
        gap_comparisons: The same for the generalization gap.
        reaching_epochs: For each variant how many epochs it takes to each target; the last target is `reference_end`,
            if that is a number.
        reaching_seconds: The same in seconds of wall time.
        reference_end: The reference's mean of the primary metric after the last epoch; NaN if a seed diverged, or the
            reference has no results.
        effects: Main effects and interactions on the primary metric, if the study is a full two-level factorial.
        train_evaluated: Whether training numbers were evaluated after each epoch; if not, they are running means.
    """

    results: StudyResults
    epochs: int
    variants: list[VariantFindings]
    comparisons: dict[str, Comparison]
    gap_comparisons: dict[str, Comparison]
    reaching_epochs: dict[str, list[Reaching]]
    reaching_seconds: dict[str, list[Reaching]]
    reference_end: float
    effects: list[Effect]
    train_evaluated: bool

    @property
    def plan(self) -> StudyPlan:
        """What was compared."""
        return self.results.plan


def find(results: StudyResults) -> Findings:
    """Compute everything that a report says about a study from its records alone.

    Raises:
        ValueError: If there is no result at all.
    """
    plan, table = results.plan, results.table
    if table.empty:
        raise ValueError("no results")
    epochs = int(table.epoch.max())
    higher = plan.metric == "acc"
    named = set(table.variant.unique())
    present = [variant.name for variant in plan.variants if variant.name in named]
    # split once: a search of the whole table for each variant would take time quadratic in their number
    rows = {str(name): part for name, part in table.groupby("variant", sort=False)}
    wall_times = {str(name): part for name, part in results.seconds.groupby("variant", sort=False)}
    curves = {name: _curves(rows[name], plan.split, plan.metric) for name in present}
    gaps = {name: _gap(rows[name]) for name in present}
    variants = [_describe(rows[name], wall_times[name], name, curves[name], gaps[name]) for name in present]

    comparisons: dict[str, Comparison] = {}
    gap_comparisons: dict[str, Comparison] = {}
    reaching_epochs: dict[str, list[Reaching]] = {}
    reaching_seconds: dict[str, list[Reaching]] = {}
    end = math.nan
    if plan.reference in present:
        comparisons = against_reference(
            {name: curve.iloc[:, -1] for name, curve in curves.items()}, plan.reference, higher
        )
        if all(gap is not None for gap in gaps.values()):
            gap_comparisons = against_reference(
                {name: gap for name, gap in gaps.items() if gap is not None}, plan.reference, False
            )
        end = _finite_estimate(curves[plan.reference].iloc[:, -1].to_numpy()).mean
        targets = [*plan.targets, *([] if math.isnan(end) else [end])]
        for name, curve in curves.items():
            seconds = wall_times[name].pivot(index="seed", columns="epoch", values="seconds")
            for target in targets:
                taken = epochs_to_target(curve.to_numpy(), target, higher_is_better=higher)
                reaching_epochs.setdefault(name, []).append(reaching(taken, target))
                times = time_to_target(taken, seconds.loc[curve.index].to_numpy())
                reaching_seconds.setdefault(name, []).append(reaching(times, target))

    train_evaluated = all(variant.config["data"]["init_args"].get("evaluate_train", False) for variant in plan.variants)
    return Findings(
        results,
        epochs,
        variants,
        comparisons,
        gap_comparisons,
        reaching_epochs,
        reaching_seconds,
        end,
        _effects(plan, curves),
        train_evaluated,
    )


def most_telling(found: Findings, count: int) -> Findings:
    """Return the findings with at most `count` variants: the reference, and those with the best final results.

    Figures can show only a few at a time. Nothing is computed again, and tables have all variants.
    """
    if len(found.variants) <= count:
        return found
    metric, sign = f"{found.plan.split}/{found.plan.metric}", 1 if found.plan.metric == "acc" else -1

    def rank(variant: VariantFindings) -> tuple[bool, bool, float]:
        end = variant.final[metric].mean
        return variant.name != found.plan.reference, math.isnan(end), -sign * end

    chosen = {variant.name for variant in sorted(found.variants, key=rank)[:count]}

    def only(of: "dict[str, _T]") -> "dict[str, _T]":
        return {name: value for name, value in of.items() if name in chosen}

    table, drift = found.results.table, found.results.drift
    results = replace(found.results, table=table[table.variant.isin(chosen)], drift=drift[drift.variant.isin(chosen)])
    return replace(
        found,
        results=results,
        variants=[variant for variant in found.variants if variant.name in chosen],
        comparisons=only(found.comparisons),
        gap_comparisons=only(found.gap_comparisons),
        reaching_epochs=only(found.reaching_epochs),
        reaching_seconds=only(found.reaching_seconds),
    )


def _curves(table: pd.DataFrame, split: str, metric: str) -> pd.DataFrame:
    """Return one row for each seed of a variant, one column for each epoch."""
    rows = table[(table.split == split) & (table.metric == metric)]
    return rows.pivot(index="seed", columns="epoch", values="value")


def _gap(table: pd.DataFrame) -> "pd.Series[float] | None":
    """Return train accuracy minus test accuracy of each seed after the last epoch."""
    train, test = (_curves(table, split, "acc") for split in ("train", "test"))
    return None if train.empty or test.empty else train[train.columns.max()] - test[test.columns.max()]


def _describe(
    rows: pd.DataFrame, wall_time: pd.DataFrame, name: str, curve: pd.DataFrame, gap: "pd.Series[float] | None"
) -> VariantFindings:
    last = rows[rows.epoch == rows.epoch.max()]
    final = {
        f"{split}/{metric}": _finite_estimate(values.to_numpy())
        for (split, metric), values in last.groupby(["split", "metric"]).value
    }
    if gap is not None:
        final["gap"] = estimate(gap.to_numpy())
    best_epoch = best = None
    validation = _curves(rows, "val", "acc")
    if not validation.empty:
        epochs = validation.idxmax(axis=1)  # the first of equals
        best_epoch = estimate(epochs.to_numpy(float))
        best = _finite_estimate(curve.to_numpy()[np.arange(len(curve)), epochs.to_numpy(int) - 1])
    seconds = wall_time.seconds.mean()
    return VariantFindings(
        name, [int(seed) for seed in curve.index], final, curve.iloc[:, -1].to_numpy(), best_epoch, best, float(seconds)
    )


def _finite_estimate(values: NDArray[np.float64]) -> Estimate:
    """Estimate a mean; all NaN for a metric that diverged for any seed."""
    if np.isfinite(values).all():
        return estimate(values)
    return Estimate(math.nan, math.nan, math.nan, math.nan, len(values))


def against_reference(
    values: "dict[str, pd.Series[float]]", reference_name: str, higher_is_better: bool
) -> dict[str, Comparison]:
    """Compare the other variants with the reference, on the seeds that both have; Holm's correction is over all."""
    finite = {name: column for name, column in values.items() if np.isfinite(column).all()}
    reference = finite.pop(reference_name, None)
    if reference is None or not finite:
        return {}
    found: dict[str, Comparison] = {}
    for name, column in tqdm(finite.items(), desc="comparisons", unit="", delay=2, leave=False, disable=None):
        shared = sorted(set(column.index) & set(reference.index))
        pair = {name: column.loc[shared].to_numpy()}
        options = {"higher_is_better": higher_is_better, "family": len(finite)}
        found |= compare(pair, reference.loc[shared].to_numpy(), **options)  # type: ignore[arg-type]
    t_p, wilcoxon_p = (holm([getattr(one, test) for one in found.values()]).tolist() for test in ("t_p", "wilcoxon_p"))
    return {
        name: replace(one, t_p_holm=t, wilcoxon_p_holm=wilcoxon)
        for (name, one), t, wilcoxon in zip(found.items(), t_p, wilcoxon_p, strict=True)
    }


def _effects(plan: StudyPlan, curves: dict[str, pd.DataFrame]) -> list[Effect]:
    """Estimate the effects of a full factorial with two levels of at least two factors; otherwise return none."""
    if not all(np.isfinite(curve.iloc[:, -1]).all() for curve in curves.values()):
        return []
    factors = list(plan.variants[0].levels)
    levels = {factor: list(dict.fromkeys(str(v.levels.get(factor)) for v in plan.variants)) for factor in factors}
    if len(factors) < 2 or any(len(values) != 2 for values in levels.values()) or len(curves) != 2 ** len(factors):
        return []
    shared = sorted(set.intersection(*(set(curve.index) for curve in curves.values())))
    cells = {
        tuple(levels[factor].index(str(variant.levels[factor])) for factor in factors): curves[variant.name]
        .iloc[:, -1]
        .loc[shared]
        .to_numpy()
        for variant in plan.variants
    }
    return factorial_effects(cells, factors) if len(cells) == len(plan.variants) else []
