"""From the numbers of a study to what can be said about them: estimates, comparisons, and a verdict in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionreg.study.results import StudyPlan, StudyResults
from fashionreg.study.statistics import (
    Comparison,
    Effect,
    Estimate,
    Reaching,
    compare,
    epochs_to_target,
    estimate,
    factorial_effects,
    reaching,
    time_to_target,
)

#: Level below which a corrected p value counts as evidence.
ALPHA = 0.05

#: Full names of the metrics, and how they are printed: factor and unit of a value, unit of a difference.
METRIC_NAMES = {"acc": "accuracy", "loss": "loss", "ece": "calibration error", "gap": "generalization gap"}


@dataclass(frozen=True)
class VariantFindings:
    """One variant on its own.

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
        reaching_epochs: For each variant how many epochs it takes to each target; the last target is the reference's
            mean after the last epoch.
        reaching_seconds: The same in seconds of wall time.
        effects: Main effects and interactions on the primary metric, if the study is a full two-level factorial.
        train_evaluated: Whether training numbers were evaluated after each epoch; if not, they are running means.
        verdict: What follows, in plain sentences.
        notes: What a reader must know before believing it, in plain sentences.
    """

    results: StudyResults
    epochs: int
    variants: list[VariantFindings]
    comparisons: dict[str, Comparison]
    gap_comparisons: dict[str, Comparison]
    reaching_epochs: dict[str, list[Reaching]]
    reaching_seconds: dict[str, list[Reaching]]
    effects: list[Effect]
    train_evaluated: bool
    verdict: list[str]
    notes: list[str]

    @property
    def plan(self) -> StudyPlan:
        """What was compared."""
        return self.results.plan


def find(results: StudyResults) -> Findings:
    """Everything that a report says about a study, computed from its records alone.

    Raises:
        ValueError: If there is no result at all.
    """
    plan, table = results.plan, results.table
    if table.empty:
        raise ValueError("no results")
    epochs = int(table.epoch.max())
    higher = plan.metric == "acc"
    present = [variant.name for variant in plan.variants if (table.variant == variant.name).any()]
    curves = {name: _curves(table, name, plan.split, plan.metric) for name in present}
    gaps = {name: _gap(table, name) for name in present}
    variants = [_describe(results, name, curves[name], gaps[name]) for name in present]

    comparisons: dict[str, Comparison] = {}
    gap_comparisons: dict[str, Comparison] = {}
    reaching_epochs: dict[str, list[Reaching]] = {}
    reaching_seconds: dict[str, list[Reaching]] = {}
    if plan.reference in present:
        comparisons = _against_reference({name: curve.iloc[:, -1] for name, curve in curves.items()}, plan, higher)
        if all(gap is not None for gap in gaps.values()):
            gap_comparisons = _against_reference(
                {name: gap for name, gap in gaps.items() if gap is not None}, plan, False
            )
        targets = [*plan.targets, estimate(curves[plan.reference].iloc[:, -1].to_numpy()).mean]
        for name, curve in curves.items():
            seconds = results.seconds[results.seconds.variant == name].pivot(
                index="seed", columns="epoch", values="seconds"
            )
            for target in targets:
                taken = epochs_to_target(curve.to_numpy(), target, higher_is_better=higher)
                reaching_epochs.setdefault(name, []).append(reaching(taken, target))
                times = time_to_target(taken, seconds.loc[curve.index].to_numpy())
                reaching_seconds.setdefault(name, []).append(reaching(times, target))

    train_evaluated = all(variant.config["data"]["init_args"].get("evaluate_train", False) for variant in plan.variants)
    found = Findings(
        results,
        epochs,
        variants,
        comparisons,
        gap_comparisons,
        reaching_epochs,
        reaching_seconds,
        _effects(plan, curves),
        train_evaluated,
        [],
        [],
    )
    found.verdict.extend(_verdict(found))
    found.notes.extend(_notes(found))
    return found


def _curves(table: pd.DataFrame, variant: str, split: str, metric: str) -> pd.DataFrame:
    """One row for each seed, one column for each epoch."""
    rows = table[(table.variant == variant) & (table.split == split) & (table.metric == metric)]
    return rows.pivot(index="seed", columns="epoch", values="value")


def _gap(table: pd.DataFrame, variant: str) -> "pd.Series[float] | None":
    """Train accuracy minus test accuracy of each seed after the last epoch."""
    train, test = (_curves(table, variant, split, "acc") for split in ("train", "test"))
    return None if train.empty or test.empty else train[train.columns.max()] - test[test.columns.max()]


def _describe(results: StudyResults, name: str, curve: pd.DataFrame, gap: "pd.Series[float] | None") -> VariantFindings:
    rows = results.table[results.table.variant == name]
    last = rows[rows.epoch == rows.epoch.max()]
    final = {
        f"{split}/{metric}": _finite_estimate(values.to_numpy())
        for (split, metric), values in last.groupby(["split", "metric"]).value
    }
    if gap is not None:
        final["gap"] = estimate(gap.to_numpy())
    best_epoch = best = None
    validation = _curves(rows, name, "val", "acc")
    if not validation.empty:
        epochs = validation.idxmax(axis=1)  # the first of equals
        best_epoch = estimate(epochs.to_numpy(float))
        best = _finite_estimate(curve.to_numpy()[np.arange(len(curve)), epochs.to_numpy(int) - 1])
    seconds = results.seconds[results.seconds.variant == name].seconds.mean()
    return VariantFindings(
        name, [int(seed) for seed in curve.index], final, curve.iloc[:, -1].to_numpy(), best_epoch, best, float(seconds)
    )


def _finite_estimate(values: NDArray[np.float64]) -> Estimate:
    """An estimate; of a metric that diverged for any seed there is none."""
    if np.isfinite(values).all():
        return estimate(values)
    return Estimate(math.nan, math.nan, math.nan, math.nan, len(values))


def _against_reference(
    values: "dict[str, pd.Series[float]]", plan: StudyPlan, higher_is_better: bool
) -> dict[str, Comparison]:
    """Every other variant against the reference; only seeds that all of them have are paired."""
    finite = {name: column for name, column in values.items() if np.isfinite(column).all()}
    if plan.reference not in finite:
        return {}
    shared = sorted(set.intersection(*(set(column.index) for column in finite.values())))
    arrays = {name: column.loc[shared].to_numpy() for name, column in finite.items()}
    reference = arrays.pop(plan.reference)
    return compare(arrays, reference, higher_is_better=higher_is_better)


def _effects(plan: StudyPlan, curves: dict[str, pd.DataFrame]) -> list[Effect]:
    """The effects of a full factorial with two levels of at least two factors; otherwise nothing."""
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


# -- in words ----------------------------------------------------------------------------------------------------


def in_units(value: float, metric: str, *, signed: bool = False, difference: bool = False) -> str:
    """A value with its unit: `81.25%`, a difference as `+0.31 points`; loss in nats without a unit's name."""
    if math.isnan(value):
        return "\N{EN DASH}"
    sign = "+" if signed else ""
    if metric == "loss":
        return f"{value:{sign}.4f}".replace("-", "\N{MINUS SIGN}")
    unit = " points" if difference or metric == "gap" else "%"
    return f"{100 * value:{sign}.2f}".replace("-", "\N{MINUS SIGN}") + unit


def in_p(value: float) -> str:
    """A p value: `p = 0.031`, `p < 0.001`, or that there is none."""
    if math.isnan(value):
        return "not tested"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _interval(low: float, high: float, metric: str) -> str:
    if math.isnan(low):
        return "no interval: too few seeds"
    start, end = (in_units(end, metric, signed=True, difference=True) for end in (low, high))
    return f"95% interval {start.removesuffix(' points')} to {end}"


def _verdict(found: Findings) -> list[str]:
    plan = found.plan
    sentences = [_compared(found, name, comparison) for name, comparison in found.comparisons.items()]
    sentences += _overfitting(found)
    sentences += _convergence(found)
    sentences += _additivity(found)
    sentences += _moving_target(found)
    if plan.reference not in {variant.name for variant in found.variants}:
        sentences.insert(0, f"Nothing can be compared yet: the reference {plan.reference} has no results.")
    return sentences


def _compared(found: Findings, name: str, comparison: Comparison) -> str:
    plan, n = found.plan, comparison.n
    metric = f"{plan.split} {METRIC_NAMES[plan.metric]}"
    difference = in_units(comparison.difference.mean, plan.metric, signed=True, difference=True)
    interval = _interval(comparison.difference.low, comparison.difference.high, plan.metric)
    when = f"after {found.epochs} epochs"
    if math.isnan(comparison.t_p_holm) and comparison.difference.std == 0:
        return f"{name} and {plan.reference} differ by {difference} {metric} {when} for every one of {n} seeds."
    if math.isnan(comparison.t_p_holm):
        return (
            f"{name} and {plan.reference}: {n} {'seed is' if n == 1 else 'seeds are'} too few for a test "
            f"(difference in {metric} {when}: {difference}); run at least 5, better 10."
        )
    if comparison.t_p_holm < ALPHA:
        higher, p = comparison.difference.mean > 0, comparison.probability_better
        better = higher == (plan.metric == "acc")
        wins = f"{'better' if better else 'worse'} in {n * (p if better else 1 - p):g} of {n} seeds"
        sentence = (
            f"{name} is {'better' if better else 'worse'} than {plan.reference}: {difference} {metric} {when} "
            f"({interval}; {wins}; {in_p(comparison.t_p_holm)})."
        )
        if comparison.wilcoxon_p_holm >= ALPHA:
            sentence += f" The rank test does not confirm it ({in_p(comparison.wilcoxon_p_holm)})."
        return sentence
    sentence = (
        f"No difference between {name} and {plan.reference} could be shown with {n} seeds: {difference} {metric} "
        f"{when} ({interval}; {in_p(comparison.t_p_holm)})"
    )
    if math.isnan(comparison.detectable):
        return f"{sentence}."
    missed = in_units(comparison.detectable, plan.metric, difference=True)
    return f"{sentence}; an effect below {missed} would probably have been missed."


def _overfitting(found: Findings) -> list[str]:
    reference = found.plan.reference
    gaps = {variant.name: variant.final["gap"] for variant in found.variants if "gap" in variant.final}
    tested = {name: c for name, c in found.gap_comparisons.items() if not math.isnan(c.t_p_holm)}
    if reference not in gaps or not tested:
        return []
    said = [f"Generalization gap after {found.epochs} epochs: {reference} {in_units(gaps[reference].mean, 'gap')}"]
    for word, sign in (("smaller", -1), ("larger", 1)):
        shown = [n for n, c in tested.items() if c.t_p_holm < ALPHA and np.sign(c.difference.mean) == sign]
        if shown:
            said.append(f"{word} with " + ", ".join(f"{name} ({in_units(gaps[name].mean, 'gap')})" for name in shown))
    if same := [name for name, c in tested.items() if c.t_p_holm >= ALPHA]:
        said.append(
            "no difference shown for " + ", ".join(f"{name} ({in_units(gaps[name].mean, 'gap')})" for name in same)
        )
    return ["; ".join(said) + "."]


def _convergence(found: Findings) -> list[str]:
    plan = found.plan
    if plan.reference not in found.reaching_epochs:
        return []
    last = found.reaching_epochs[plan.reference][-1].target
    said = []
    for name, reached in found.reaching_epochs.items():
        r = reached[-1]
        if name == plan.reference:
            continue
        if r.reached == 0:
            said.append(f"{name} never does")
        elif math.isinf(r.median):
            said.append(f"{name} does in {r.reached} of {r.n} seeds only")
        else:
            never = f" ({r.n - r.reached} of {r.n} seeds never)" if r.reached < r.n else ""
            # nothing is known of a network before its first epoch is over
            epochs = f"{r.median:.1f} epochs" if r.median > 1 else "1 epoch at most"
            said.append(f"{name} takes {epochs}{never}")
    target = in_units(last, plan.metric)
    return [
        f"To reach the {plan.split} {METRIC_NAMES[plan.metric]} that {plan.reference} has after {found.epochs} epochs "
        f"({target}; medians over seeds): {', '.join(said)}."
    ] * bool(said)


def _additivity(found: Findings) -> list[str]:
    interactions = [effect for effect in found.effects if len(effect.factors) > 1]
    if not interactions or all(math.isnan(effect.p_holm) for effect in interactions):
        return []
    metric = found.plan.metric
    shown = [effect for effect in interactions if effect.p_holm < ALPHA]
    if not shown:
        return ["The effects add up as far as these seeds can tell: no interaction could be shown."]
    terms = [
        f"{' x '.join(effect.factors)} {in_units(effect.estimate.mean, metric, signed=True, difference=True)} "
        f"({in_p(effect.p_holm)})"
        for effect in shown
    ]
    return [f"The effects do not simply add up: interaction of {'; '.join(terms)}."]


def _moving_target(found: Findings) -> list[str]:
    """How far the input of the last hidden layer has moved when training ends, where that was watched."""
    drift = found.results.drift
    if drift.empty or drift.step.nunique() == 1:
        return []
    deepest = max(drift.layer.unique(), key=lambda layer: int(layer.removeprefix("hidden")))
    rows = drift[(drift.layer == deepest) & (drift.statistic == "mean_drift")]
    ends = rows[rows.step == rows.groupby("variant").step.transform("max")].groupby("variant", sort=False).value
    names = [variant.name for variant in found.variants if variant.name in ends.groups]
    moved = ", ".join(f"{ends.get_group(name).mean():.2g} in {name}" for name in names)
    return [
        f"The moving target: by the end of training the mean input of a unit in the last hidden layer ({deepest}) has "
        f"moved by this many of its initial standard deviations (means over units and seeds): {moved}."
    ]


def _notes(found: Findings) -> list[str]:
    plan, notes = found.plan, []
    for name, seeds in found.results.missing().items():
        notes.append(f"Incomplete: {name} has no results for {len(seeds)} of {len(plan.seeds)} seeds.")
    table = found.results.table
    for name, rows in table[~np.isfinite(table.value)].groupby("variant", sort=False):
        diverged = sorted({int(seed) for seed in rows.seed})
        notes.append(f"Diverged: {name} reached a loss that is no number with {seeds_in_words(diverged)}.")
    sources = {run["data"]["source"] for run in found.results.runs}
    if any("synthetic" in source for source in sources):
        notes.append("Trained on synthetic garments: nothing here is about Fashion-MNIST.")
    lengths = table.groupby("variant", sort=False).epoch.max()
    if lengths.nunique() > 1:
        said = ", ".join(f"{name} {epochs}" for name, epochs in lengths.items())
        notes.append(f"The variants were not all trained equally long; the last epoch of each counts: {said} epochs.")
    fingerprints = {str(sorted(run["data"]["fingerprints"].items())) for run in found.results.runs}
    if len(fingerprints) > 1:
        notes.append("The variants were not all trained and tested on the same images.")
    if plan.split == "test":
        notes.append(
            "Test results are shown for every epoch, and nothing was selected by them: the last epoch counts"
            + (", and the best epoch is chosen on validation images." if found.variants[0].best else ".")
        )
    if not found.train_evaluated:
        notes.append(
            "Training numbers are means over each epoch's own steps (dropout on, weights moving), so the "
            "generalization gap is only roughly that of the trained network."
        )
    return notes


def seeds_in_words(seeds: Sequence[int]) -> str:
    """`10 seeds (0 to 9)`, `2 seeds (3, 7)`, `1 seed (0)`."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"{len(seeds)} seed{'s' * (len(seeds) > 1)} ({named})"
