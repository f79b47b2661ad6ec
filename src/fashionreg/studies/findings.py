"""Estimates and comparisons, computed from the records of a study."""

import math
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionreg.errors import UserError
from fashionreg.studies.curves import Rise, Stall, best_epochs, curves_of, rise_of, stalls_of
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.estimand import alternatives as other_estimands
from fashionreg.studies.results import Outcome, StudyPlan, StudyResults
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
        final: What the estimand makes of each curve, by `split/metric` and `gap`: estimates over seeds; the
            generalization gap is train accuracy minus test accuracy.
        values: The same of each seed, by outcome (`acc`, `loss`, `ece` on the plan's split; `gap`), indexed by seed.
        best_epoch: The epoch (from 1) with the highest validation accuracy of each seed, over seeds; None without
            validation images.
        best: The plan's metric at that epoch, over seeds; None without validation images.
        seconds: Wall time in seconds of an epoch and seed, a median over epochs and seeds; NaN where it is not known.
    """

    name: str
    seeds: list[int]
    final: dict[str, Estimate]
    values: "dict[str, pd.Series[float]]"
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
            paired by the seeds of both; Holm's correction is over the variants, for each outcome by itself.
        alternatives: The same for every estimand that could have been chosen; empty where training is one epoch.
        reaching_epochs: For each variant how many epochs it takes to each target; the last target is `reference_end`,
            if that is a number.
        reaching_seconds: The same in seconds of wall time, at the median speed of each seed, where that is known.
        reference_end: The reference's mean of the plan's metric, by the estimand; NaN if a seed diverged, the
            reference has no results, or there are no epochs.
        effects: Main effects and interactions on the primary outcome, if the study is a full two-level factorial.
        stalls: Epochs that took much longer than the others of their run.
        rise: How the reference's test loss ends above its minimum, if it was measured and is finite.
    """

    results: StudyResults
    lengths: dict[str, int]
    variants: list[VariantFindings]
    compared: dict[str, dict[str, Comparison]]
    alternatives: dict[Estimand, dict[str, dict[str, Comparison]]]
    reaching_epochs: dict[str, list[Reaching]]
    reaching_seconds: dict[str, list[Reaching]]
    reference_end: float
    effects: list[Effect]
    stalls: list[Stall]
    rise: Rise | None

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
    variants = [_describe(plan, name, curves[name], wall_times[name]) for name in present]

    alternatives: dict[Estimand, dict[str, dict[str, Comparison]]] = {}
    reaching_epochs: dict[str, list[Reaching]] = {}
    reaching_seconds: dict[str, list[Reaching]] = {}
    end = math.nan
    if plan.reference in present:
        alternatives = {
            estimand: _compared(plan, {name: _values(plan, curves[name], estimand) for name in present})
            for estimand in other_estimands(plan.estimate, max(lengths.values()), validated=validated)
        }
        key = plan.key(plan.metric)
        if lengths[plan.reference]:
            end = next(variant.final[key].mean for variant in variants if variant.name == plan.reference)
        targets = [*plan.targets, *([] if math.isnan(end) else [end])]
        for name in present:
            curve = curves[name][key]
            # at the median speed of each seed: a machine that stalls says nothing of the variant
            speed = np.repeat(wall_times[name].median(axis=1)[curve.index].to_numpy()[:, None], lengths[name], axis=1)
            for target in targets:
                taken = epochs_to_target(curve.to_numpy(), target, higher_is_better=plan.more_is_better(plan.metric))
                reaching_epochs.setdefault(name, []).append(reaching(taken, target))
                if not np.isnan(speed).any():
                    reaching_seconds.setdefault(name, []).append(reaching(time_to_target(taken, speed), target))

    values = {variant.name: variant.values for variant in variants}
    loss = curves.get(plan.reference, {}).get("test/loss")
    return Findings(
        results,
        lengths,
        variants,
        _compared(plan, values) if plan.reference in present else {},
        alternatives,
        reaching_epochs,
        reaching_seconds,
        end,
        _effects(plan, {name: each[plan.primary] for name, each in values.items() if plan.primary in each}),
        [stall for name in present for stall in stalls_of(name, wall_times[name])],
        None if loss is None else rise_of(loss),
    )


def only(found: Findings, chosen: set[str]) -> Findings:
    """Return the findings on some of the variants. Nothing is computed again."""

    def of(parts: "dict[str, _T]") -> "dict[str, _T]":
        return {name: part for name, part in parts.items() if name in chosen}

    table, drift = found.results.table, found.results.drift
    results = replace(found.results, table=table[table.variant.isin(chosen)], drift=drift[drift.variant.isin(chosen)])
    return replace(
        found,
        results=results,
        lengths=of(found.lengths),
        variants=[variant for variant in found.variants if variant.name in chosen],
        compared={outcome: of(each) for outcome, each in found.compared.items()},
        reaching_epochs=of(found.reaching_epochs),
        reaching_seconds=of(found.reaching_seconds),
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
    named = {outcome: curves.get(plan.key(outcome)) for outcome in (*get_args(Outcome), *plan.outcomes)}
    best = best_epochs(curves)
    return {outcome: estimand.of(curve, best) for outcome, curve in named.items() if curve is not None}


def _compared(plan: StudyPlan, values: "dict[str, dict[str, pd.Series[float]]]") -> dict[str, dict[str, Comparison]]:
    """Compare the variants with the reference by each outcome of the plan that all of them have measured."""
    return {
        outcome: against_reference(
            {name: each[outcome] for name, each in values.items()}, plan.reference, plan.more_is_better(outcome)
        )
        for outcome in plan.tested
        if all(outcome in each for each in values.values())
    }


def _describe(plan: StudyPlan, name: str, curves: dict[str, pd.DataFrame], wall_time: pd.DataFrame) -> VariantFindings:
    chosen, best_epoch, best = best_epochs(curves), None, None
    if chosen is not None:
        best_epoch = estimate(chosen.to_numpy(float))
        best = _finite_estimate(Estimand("best").of(curves[plan.key(plan.metric)], chosen))
    final = {key: _finite_estimate(plan.estimate.of(curve, chosen)) for key, curve in curves.items()}
    values = _values(plan, curves, plan.estimate)
    seeds = [int(seed) for seed in wall_time.index]
    return VariantFindings(name, seeds, final, values, best_epoch, best, float(np.median(wall_time.to_numpy())))


def _finite_estimate(values: "pd.Series[float]") -> Estimate:
    """Estimate a mean; all NaN for a metric that diverged for any seed."""
    if np.isfinite(values).all():
        return estimate(values.to_numpy())
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


def _effects(plan: StudyPlan, values: "dict[str, pd.Series[float]]") -> list[Effect]:
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
    return factorial_effects(cells, factors) if len(cells) == len(plan.variants) else []
