"""Estimates and comparisons, computed from the records of a study."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionreg.errors import UserError
from fashionreg.studies.arrivals import Arrivals, arrivals
from fashionreg.studies.curves import Rise, Stall, best_epochs, curves_of, rise_of, stalls_of
from fashionreg.studies.effects import effects_of
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.estimand import alternatives as other_estimands
from fashionreg.studies.evidence import Evidence, gather, paired
from fashionreg.studies.folds import Summary, by_seed_and_fold, each_fold
from fashionreg.studies.images import OverImages, over_images
from fashionreg.studies.looks import ONCE, Looked, looked
from fashionreg.studies.results import Outcome, StudyPlan, StudyResults
from fashionreg.studies.statistics import (
    Comparison,
    Effect,
    Estimate,
    Reaching,
    compare,
    corrected,
    estimate,
    estimate_share,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class VariantFindings:
    """The results of one variant.

    Attributes:
        name: Its name.
        seeds: Its seeds, n of them.
        final: What the estimand makes of each curve, by `split/metric` and `gap`: estimates over seeds; the
            generalization gap is train accuracy minus test accuracy.
        values: The same of each seed, by outcome (`acc`, `loss`, `ece` on the plan's split; `gap`), indexed by seed.
            With several folds, here and in the others, the mean over the folds of what counts in each.
        single: The single results that these are means of, by outcome, indexed by seed and fold; `values` where there
            is one fold.
        best_epoch: The epoch (from 1) with the highest validation accuracy of each seed, over seeds; None without
            validation images.
        best: The plan's metric at that epoch, over seeds; None without validation images.
        seconds: Wall time in seconds of an epoch and seed, a median over epochs and seeds; NaN where it is not known.
    """

    name: str
    seeds: list[int]
    final: dict[str, Estimate]
    values: "dict[str, pd.Series[float]]"
    single: "dict[str, pd.Series[float]]"
    best_epoch: Estimate | None
    best: Estimate | None
    seconds: float


@dataclass(frozen=True)
class Findings:
    """What a study has found.

    Attributes:
        results: The numbers that everything here follows from.
        lengths: For each variant that has results its number of epochs; 0 where there is one number for a training.
        variants: The variants that have results, in the plan's order.
        compared: For each outcome that was measured, the primary one first, each other variant against the reference,
            paired by the seeds of both; Holm's correction and the simultaneous intervals are over the variants, for
            each outcome separately.
        evidence: By the primary outcome, what belongs beside each of its comparisons.
        alternatives: The same for every estimand that could have been chosen; empty where training is one epoch.
        arrivals: When the seeds of each variant reach the targets; the last target is `reference_end`, if that
            is a number. None where the reference has no results, or there are no epochs.
        looked: The looks at the study, this one included.
        reference_end: The reference's mean of the plan's metric, by the estimand; NaN if a seed diverged, the
            reference has no results, or there are no epochs.
        effects: Main effects and interactions on the primary outcome, if the study is a full two-level factorial on one
            split.
        stalls: Epochs that took much longer than the others of their run.
        rise: How the reference's test loss ends above its minimum, if it was measured and is finite.
        over_images: For each other variant over what its difference in test accuracy holds, where that is known.
    """

    results: StudyResults
    lengths: dict[str, int]
    variants: list[VariantFindings]
    compared: dict[str, dict[str, Comparison]]
    evidence: dict[str, Evidence]
    alternatives: dict[Estimand, dict[str, dict[str, Comparison]]]
    arrivals: Arrivals | None
    looked: Looked
    reference_end: float
    effects: list[Effect]
    stalls: list[Stall]
    rise: Rise | None
    over_images: dict[str, OverImages] = field(default_factory=dict)

    @property
    def plan(self) -> StudyPlan:
        """What was compared."""
        return self.results.plan

    @property
    def epochs(self) -> int:
        """Number of epochs of the longest run."""
        return max(self.lengths.values())

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """Each other variant against the reference by the primary outcome."""
        return self.compared.get(self.plan.primary, {})

    @property
    def reaching_epochs(self) -> dict[str, list[Reaching]]:
        """For each variant how many epochs it takes to each target."""
        return {} if self.arrivals is None else self.arrivals.epochs

    @property
    def level(self) -> float:
        """Level of the tests of the primary outcome: 0.05, or less where the study is looked at several times."""
        return self.looked.level(len(self.comparisons))

    def by_effect(self) -> list[str]:
        """Return the other variants by their difference from the reference in the primary outcome, the best first."""
        sign = 1 if self.plan.more_is_better(self.plan.primary) else -1
        return sorted(self.comparisons, key=lambda name: -sign * self.comparisons[name].difference.mean)

    def cost(self, name: str) -> float:
        """Return the wall time of a variant as a multiple of the reference's; NaN where one of them is not known."""
        seconds = {variant.name: variant.seconds for variant in self.variants}
        base = seconds.get(self.plan.reference, math.nan)
        return seconds.get(name, math.nan) / base if base > 0 else math.nan

    @property
    def phrase(self) -> str:
        """How every number is made of a learning curve: `after 5 epochs`."""
        return self.plan.estimate.phrase(self.lengths.values())


def find(results: StudyResults) -> Findings:
    """Compute everything that a report says about a study from its records alone.

    Raises:
        ValueError: If there is no result at all.
        UserError: If the plan's estimand needs what the runs did not measure.
    """
    plan, table = results.plan, results.table
    if table.empty:
        raise ValueError("no results")
    named = set(table.variant.unique())
    present = [variant.name for variant in plan.variants if variant.name in named]
    # split once: a search of the whole table for each variant would take time quadratic in their number
    rows = {str(name): part for name, part in table.groupby("variant", sort=False)}
    wall_times = {
        str(name): part.pivot(index="seed", columns="epoch", values="seconds")
        for name, part in results.seconds.groupby("variant", sort=False)
    }
    curves = {name: curves_of(rows[name]) for name in present}
    validated = all("val/acc" in each for each in curves.values())
    if plan.estimate.kind == "best" and not validated:
        raise UserError(f"{plan.name}: estimate: best needs validation accuracy, and there are runs without it")
    lengths = {name: int(rows[name].epoch.max()) for name in present}
    singles = None if results.cells is None else _singles(results.cells)
    variants = [
        _describe(plan, name, {0: curves[name]} if singles is None else singles[name], wall_times[name])
        for name in present
    ]

    values = {variant.name: variant.single for variant in variants}
    by_primary = {name: each[plan.primary] for name, each in values.items() if plan.primary in each}
    alternatives: dict[Estimand, dict[str, dict[str, Comparison]]] = {}
    compared: dict[str, dict[str, Comparison]] = {}
    belongs: dict[str, Evidence] = {}
    reached, end, seen = None, math.nan, ONCE
    if plan.reference in present:
        seen = looked(results.looks, _most_pairs(plan, variants), plan.max_seeds)
        compared = _compared(plan, values, seen, results.summary)
        for estimand in other_estimands(plan.estimate, max(lengths.values()), validated=validated):
            others = {
                name: _values(plan, curves[name], estimand)
                if singles is None
                else _in_folds(plan, singles[name], estimand)
                for name in present
            }
            alternatives[estimand] = _compared(plan, others, seen, results.summary)
        tested, key = compared.get(plan.primary, {}), plan.key(plan.metric)
        belongs = gather(
            by_primary,
            plan.reference,
            tested,
            higher_is_better=plan.more_is_better(plan.primary),
            relevant=plan.margin,
            alpha=seen.level(len(tested)),
        )
        if lengths[plan.reference]:
            end = next(variant.final[key].mean for variant in variants if variant.name == plan.reference)
        if targets := [*plan.targets, *([] if math.isnan(end) else [end])]:
            chosen, rising = {name: curves[name][key] for name in present}, plan.more_is_better(plan.metric)
            reached = arrivals(chosen, wall_times, targets, plan.reference, higher_is_better=rising)
    loss = curves.get(plan.reference, {}).get("test/loss")
    return Findings(
        results,
        lengths,
        variants,
        compared,
        belongs,
        alternatives,
        reached,
        seen,
        end,
        effects_of(plan, by_primary, seen) if singles is None else [],
        [stall for name in present for stall in stalls_of(name, wall_times[name])],
        None if loss is None else rise_of(loss),
        over_images(results),
    )


def only(found: Findings, chosen: set[str]) -> Findings:
    """Return the findings on some of the variants. Nothing is computed again."""

    def of(parts: "dict[str, _T]") -> "dict[str, _T]":
        return {name: part for name, part in parts.items() if name in chosen}

    def rows_of(table: pd.DataFrame) -> pd.DataFrame:
        return table[table.variant.isin(chosen)]

    full = found.results
    cells, scores = (None if each is None else rows_of(each) for each in (full.cells, full.scores))
    results = replace(full, table=rows_of(full.table), drift=rows_of(full.drift), cells=cells, scores=scores)
    return replace(
        found,
        results=results,
        lengths=of(found.lengths),
        variants=[variant for variant in found.variants if variant.name in chosen],
        compared={outcome: of(each) for outcome, each in found.compared.items()},
        evidence=of(found.evidence),
        arrivals=None if found.arrivals is None else found.arrivals.only(chosen),
    )


def most_telling(found: Findings, count: int) -> Findings:
    """Return the findings with at most `count` variants: the reference, and those with the best final results.

    Figures can show only a few at a time; tables have all variants.
    """
    if len(found.variants) <= count:
        return found
    primary = found.plan.primary
    key, sign = found.plan.key(primary), 1 if found.plan.more_is_better(primary) else -1

    def rank(variant: VariantFindings) -> tuple[bool, bool, float]:
        end = variant.final[key].mean if key in variant.final else math.nan
        return variant.name != found.plan.reference, math.isnan(end), -sign * end

    return only(found, {variant.name for variant in sorted(found.variants, key=rank)[:count]})


def _values(plan: StudyPlan, curves: dict[str, pd.DataFrame], estimand: Estimand) -> "dict[str, pd.Series[float]]":
    """Return by outcome what an estimand makes of the curve of each seed."""
    return _by_outcome(plan, _ends(curves, estimand))


def _ends(curves: dict[str, pd.DataFrame], estimand: Estimand) -> "dict[str, pd.Series[float]]":
    """Return by `split/metric`, and `gap`, what an estimand makes of the curve of each seed."""
    best = best_epochs(curves)
    return {key: estimand.of(curve, best) for key, curve in curves.items()}


def _by_outcome(plan: StudyPlan, ends: "dict[str, pd.Series[float]]") -> "dict[str, pd.Series[float]]":
    """Return the outcomes that were measured, by their names in a study file."""
    outcomes = (*get_args(Outcome), *plan.outcomes)
    return {outcome: ends[key] for outcome in outcomes if (key := plan.key(outcome)) in ends}


def _singles(cells: pd.DataFrame) -> dict[str, dict[int, dict[str, pd.DataFrame]]]:
    """Return the curves of each variant in each fold."""
    parts = cells.groupby("variant", sort=False)
    return {str(name): {fold: curves_of(each) for fold, each in each_fold(rows).items()} for name, rows in parts}


def _in_folds(
    plan: StudyPlan, folds: dict[int, dict[str, pd.DataFrame]], estimand: Estimand
) -> "dict[str, pd.Series[float]]":
    """Return by outcome what an estimand makes of the curve of each seed and fold."""
    found = {fold: _values(plan, curves, estimand) for fold, curves in folds.items()}
    outcomes = next(iter(found.values()))
    return {outcome: by_seed_and_fold({fold: each[outcome] for fold, each in found.items()}) for outcome in outcomes}


def _compared(
    plan: StudyPlan, values: "dict[str, dict[str, pd.Series[float]]]", seen: Looked, summary: Summary | None
) -> dict[str, dict[str, Comparison]]:
    """Compare the variants with the reference by each outcome of the plan that all of them have measured."""
    return {
        outcome: against_reference(
            {name: each[outcome] for name, each in values.items()},
            plan.reference,
            plan.more_is_better(outcome),
            seen,
            summary,
        )
        for outcome in plan.tested
        if all(outcome in each for each in values.values())
    }


def _most_pairs(plan: StudyPlan, variants: Sequence[VariantFindings]) -> int:
    """Return the number of seeds that a variant shares with the reference, of the variant that shares the most."""
    seeds = {variant.name: set(variant.seeds) for variant in variants}
    reference = seeds.pop(plan.reference)
    return max((len(each & reference) for each in seeds.values()), default=0)


def _describe(
    plan: StudyPlan, name: str, folds: dict[int, dict[str, pd.DataFrame]], wall_time: pd.DataFrame
) -> VariantFindings:
    """Describe a variant by its curves in each fold: a seed stands for its mean over the folds."""
    ends = [_ends(curves, plan.estimate) for curves in folds.values()]
    over_folds = {key: _mean([each[key] for each in ends]) for key in ends[0]}
    chosen = [epochs for curves in folds.values() if (epochs := best_epochs(curves)) is not None]
    best_epoch: Estimate | None = None
    best: Estimate | None = None
    if chosen:
        best_epoch = estimate(_mean(chosen).to_numpy(float))
        key = plan.key(plan.metric)
        there = [
            Estimand("best").of(curves[key], epochs) for curves, epochs in zip(folds.values(), chosen, strict=True)
        ]
        best = finite_estimate(_mean(there), plan.metric)
    final = {key: finite_estimate(values, key.rpartition("/")[2]) for key, values in over_folds.items()}
    seeds, seconds = [int(seed) for seed in wall_time.index], float(np.median(wall_time.to_numpy()))
    values = _by_outcome(plan, over_folds)
    single = values if len(folds) == 1 else _in_folds(plan, folds, plan.estimate)
    return VariantFindings(name, seeds, final, values, single, best_epoch, best, seconds)


def _mean(folds: "Sequence[pd.Series[Any]]") -> "pd.Series[Any]":
    """Return the mean over the folds of each seed; not finite where a number is not."""
    return folds[0] if len(folds) == 1 else pd.concat(folds, axis=1).mean(axis=1, skipna=False)


def finite_estimate(values: "pd.Series[float]", metric: str) -> Estimate:
    """Estimate a mean; all NaN for a metric that diverged for any seed. The interval of a share stays within 0 to 1."""
    if np.isfinite(values).all():
        return (estimate_share if metric in ("acc", "ece") else estimate)(values.to_numpy())
    return Estimate(math.nan, math.nan, math.nan, math.nan, len(values))


def against_reference(
    values: "dict[str, pd.Series[float]]",
    reference_name: str,
    higher_is_better: bool,
    seen: Looked = ONCE,
    summary: Summary | None = None,
) -> dict[str, Comparison]:
    """Compare the other variants with the reference, on the seeds that both have; corrected over all of them.

    Args:
        values: The outcome of each variant, indexed by seed. One that is not finite for some seed is left out.
        reference_name: The variant that the others are compared with.
        higher_is_better: True for an accuracy, False for a loss.
        seen: The looks at the study, which decide the level.
        summary: How differences become their mean, where values are indexed by seed and fold.
    """
    finite = {name: column for name, column in values.items() if np.isfinite(column).all()}
    reference = finite.pop(reference_name, None)
    if reference is None or not finite:
        return {}
    found: dict[str, Comparison] = {}
    for name, column in tqdm(finite.items(), desc="comparisons", unit="", delay=2, leave=False, disable=None):
        variant, base = paired(column, reference)
        found |= compare(
            {name: variant},
            base,
            higher_is_better=higher_is_better,
            family=len(finite),
            summary=summary or estimate,
        )
    return corrected(found, seen.level(len(found)))
